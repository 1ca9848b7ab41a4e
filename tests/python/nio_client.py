"""A person's Matrix client for the tests, on matrix-nio.

Arguments: the homeserver's address, the user's ID, device and access token, a folder.
Writes what it reads in rooms to standard output, one JSON object per line: ``text``,
``file`` (its name; its decrypted bytes are then in the folder) or ``unreadable``.
Reads from standard input what to send in the same form, with ``room``.
"""

import asyncio
import json
import sys
from pathlib import Path

import nio
from nio.crypto.attachments import decrypt_attachment


def tell(**what):
    print(json.dumps(what), flush=True)


class Client:
    def __init__(self, url, user_id, device_id, token, folder):
        self.folder = Path(folder)
        self.nio = nio.AsyncClient(url, user_id, device_id, folder)
        self.nio.restore_login(user_id, device_id, token)
        self.is_ready = False

    async def run(self):
        """Read and write until standard input ends."""
        self.nio.add_event_callback(self.read_text, nio.RoomMessageText)
        self.nio.add_event_callback(self.read_file, nio.RoomEncryptedMedia)
        self.nio.add_event_callback(self.miss, nio.MegolmEvent)
        orders = asyncio.create_task(self.orders())
        while not orders.done():
            await self.sync()
        await orders
        await self.nio.close()

    async def sync(self):
        checked(await self.nio.sync(timeout=300, full_state=not self.is_ready))
        if self.nio.should_upload_keys:
            checked(await self.nio.keys_upload())
        if self.nio.should_query_keys:
            checked(await self.nio.keys_query())
        if not self.is_ready:
            self.is_ready = True
            tell(ready=True)

    async def orders(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await self.send(**json.loads(line))

    async def send(self, room, text=None, file=None):
        content = {"msgtype": "m.text", "body": text}
        if file:
            content = await self.uploaded(Path(file))
        answer = await self.nio.room_send(
            room, "m.room.message", content, ignore_unverified_devices=True
        )
        checked(answer)

    async def uploaded(self, file):
        size = file.stat().st_size
        answer, keys = await self.nio.upload(
            lambda *_tries: file, "application/pdf", encrypt=True, filesize=size
        )
        checked(answer)
        return {
            "msgtype": "m.file",
            "body": file.name,
            "info": {"size": size, "mimetype": "application/pdf"},
            "file": {**keys, "url": answer.content_uri},
        }

    def is_new(self, event):
        return self.is_ready and event.sender != self.nio.user_id

    async def read_text(self, _room, event):
        if self.is_new(event):
            tell(text=event.body, is_decrypted=event.decrypted)

    async def read_file(self, _room, event):
        if self.is_new(event):
            answer = checked(await self.nio.download(event.url))
            content = decrypt_attachment(
                answer.body, event.key["k"], event.hashes["sha256"], event.iv
            )
            (self.folder / event.body).write_bytes(content)
            tell(file=event.body)

    async def miss(self, _room, event):
        if self.is_new(event):
            tell(unreadable=event.session_id)


def checked(answer):
    if isinstance(answer, nio.ErrorResponse):
        raise SystemExit(str(answer))
    return answer


asyncio.run(Client(*sys.argv[1:]).run())
