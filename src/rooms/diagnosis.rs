//! Why a room answers 403: six causes behind one errcode, and what the worker can do about each.

use std::collections::BTreeSet;

use crate::{
    matrix::{Homeserver, Membership, SendError, Tombstone},
    message::{Failure, RoomId, UserId, code},
    rooms::power::{self, Speech},
};

/// What can be done about a 403.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Diagnosis {
    /// We were invited and are in the room now: send again.
    Joined,
    /// The room was replaced, and it is safe to follow: send to this one.
    Moved(RoomId),
    /// The room was replaced, and we are not invited to the new one yet: clients invite people one after the other.
    Awaited(Failure),
    /// No message can be sent to the room, for this reason.
    Closed(Failure),
    /// We are in the room, and nothing about it explains the refusal: this message is refused, others may be accepted.
    Inside(Failure),
    /// We may not read the room: this message is refused, others may be accepted.
    Unknown(Failure),
    /// It is too late to do anything about it: another worker may have the lane.
    Late,
}

/// Whether another call may be started now.
pub(crate) type MayCall<'a> = &'a (dyn Fn() -> bool + Sync);

/// What decides which room may take over the messages of one that was replaced.
#[derive(Clone, Copy)]
pub(crate) struct Secrecy {
    /// This account encrypts its messages for encrypted rooms.
    pub(crate) encrypts: bool,
    /// The old room was encrypted once, whatever the homeserver says now.
    pub(crate) was_encrypted: bool,
    /// The message may be sent unencrypted to the old room, even if that is encrypted.
    pub(crate) may_be_plain: bool,
}

/// Finds out why `room` refused a message of `matrix_type`, and fixes what the worker may fix by itself.
///
/// # Errors
/// When the homeserver does not answer; a 429 among them is about this room, not about the account.
pub(crate) async fn diagnose(
    homeserver: &Homeserver,
    me: &UserId,
    room: &RoomId,
    matrix_type: &str,
    refusal: &Failure,
    secrecy: Secrecy,
    may_call: MayCall<'_>,
) -> Result<Diagnosis, SendError> {
    match look(homeserver, me, room, matrix_type, refusal, secrecy, may_call).await {
        Err(error) if error.is_refusal() => {
            let text = format!("{}; the reason could not be found out: {error}", refusal.text);
            Ok(Diagnosis::Unknown(Failure { code: refusal.code.clone(), text }))
        }
        other => other,
    }
}

async fn look(
    homeserver: &Homeserver,
    me: &UserId,
    room: &RoomId,
    matrix_type: &str,
    refusal: &Failure,
    secrecy: Secrecy,
    may_call: MayCall<'_>,
) -> Result<Diagnosis, SendError> {
    match homeserver.membership(me, room).await? {
        Membership::Invited { .. } => {
            // A record or a person names this room, so the invitation is wanted.
            return match homeserver.join(room).await {
                Ok(()) => Ok(Diagnosis::Joined),
                Err(error) if error.is_refusal() => {
                    let text =
                        format!("{me} is invited to this room but is not let in; invite it again, then retry: {error}");
                    Ok(closed(refusal, text))
                }
                Err(error) => Err(error),
            };
        }
        Membership::Banned => return Ok(closed(refusal, format!("{me} is banned from this room"))),
        Membership::Outside => {
            return Ok(closed(refusal, format!("{me} is not in this room; invite it there, then retry")));
        }
        Membership::Joined => {}
    }
    if let Some(tombstone) = homeserver.tombstone(room).await? {
        return replaced(homeserver, me, room, &tombstone, secrecy, may_call).await;
    }
    let levels = homeserver.state(room, "m.room.power_levels").await?;
    let creation = homeserver.creation(room).await?;
    if let Speech::Denied { has, needs } = power::speech(levels.as_ref(), &creation, me, matrix_type) {
        let text = format!("{me} may not post in this room: it has power level {has}, messages need {needs}");
        return Ok(closed(refusal, text));
    }
    Ok(Diagnosis::Inside(refusal.clone()))
}

/// Follows a room that was replaced, if that is safe. Whoever controls the old room must not be able to redirect messages: the new one
/// must name the old one and may not be public, nor encrypted unless this account encrypts, nor plain if the old one was encrypted. A member of the old one must have invited us,
/// or made it; unless we are in it already, it must then be open to the members of the old one and to nobody else.
///
/// # Errors
/// As [`diagnose`].
pub(crate) async fn replaced(
    homeserver: &Homeserver,
    me: &UserId,
    old: &RoomId,
    tombstone: &Tombstone,
    secrecy: Secrecy,
    may_call: MayCall<'_>,
) -> Result<Diagnosis, SendError> {
    let failure = |why: &str| {
        let text = format!("the room was replaced by another one; confirm the new room on the record ({why})");
        Failure::new(code::ROOM_REPLACED, text)
    };
    let confirm = |why: &str| Ok(Diagnosis::Closed(failure(why)));
    let Some(new) = tombstone.replacement() else {
        return confirm("the old one does not name it");
    };
    let membership = homeserver.membership(me, &new).await?;
    let is_in = membership == Membership::Joined;
    let trust = match membership {
        Membership::Invited { is_encrypted: true, .. } if !secrecy.encrypts => return confirm("it is encrypted"),
        Membership::Invited { by: None, .. } => {
            return confirm("the homeserver does not say who has invited this account");
        }
        Membership::Invited { by: Some(by), .. } => {
            if !homeserver.has_member(old, &by).await? {
                return confirm("the person who invited this account is not in the old room");
            }
            match homeserver.join(&new).await {
                Err(error) if error.is_refusal() => return confirm("it does not let this account in"),
                joined => joined?,
            }
            Trust::Inviter
        }
        // By an earlier attempt that was interrupted before it was known whether the room is safe to follow, or because a person has linked it.
        Membership::Joined if homeserver.has_joined_by_rule(&new, me).await? => Trust::OpenToMembers,
        Membership::Joined => Trust::Maker,
        Membership::Outside => {
            let via = servers(homeserver, me, old, &new).await?;
            match homeserver.join_via(&new, &via).await {
                Err(error) if error.is_refusal() => {
                    return Ok(Diagnosis::Awaited(failure("this account is not invited to it")));
                }
                joined => joined?,
            }
            Trust::OpenToMembers
        }
        Membership::Banned => return confirm("this account is banned from it"),
    };
    // An invitation shows only what the inviter says; the room's real state can be read only after joining.
    if let Some(why) = unsafe_to_follow(homeserver, old, &new, trust, secrecy).await? {
        // Others may need a room that the account was in before.
        if !is_in {
            // Who has the lane now may have found the room safe, and be in it for good.
            if !may_call() {
                return Ok(Diagnosis::Late);
            }
            homeserver.leave(&new).await?;
        }
        return confirm(why);
    }
    Ok(Diagnosis::Moved(new))
}

/// Why a room that replaced another one may be trusted with its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// A member of the old room has invited us.
    Inviter,
    /// A member of the old room has made it.
    Maker,
    /// A member of the old room has made it, and whoever is in the old room may join.
    OpenToMembers,
}

/// Servers that know the new room: it may be on none that we share a room with.
async fn servers(
    homeserver: &Homeserver,
    me: &UserId,
    old: &RoomId,
    new: &RoomId,
) -> Result<BTreeSet<String>, SendError> {
    let replaced_by = homeserver.replaced_by(old).await?;
    let of_users = [Some(me), replaced_by.as_ref()].into_iter().flatten().map(UserId::server);
    // Room IDs of version 12 have no server.
    let of_rooms = [old, new].into_iter().filter_map(|room| Some(room.as_str().split_once(':')?.1));
    Ok(of_users.chain(of_rooms).filter(|server| !server.is_empty()).map(str::to_owned).collect())
}

async fn unsafe_to_follow(
    homeserver: &Homeserver,
    old: &RoomId,
    new: &RoomId,
    trust: Trust,
    secrecy: Secrecy,
) -> Result<Option<&'static str>, SendError> {
    let creation = homeserver.creation(new).await?;
    let predecessor = creation.predecessor.and_then(|predecessor| predecessor.room_id);
    if predecessor.as_deref() != Some(old.as_str()) {
        return Ok(Some("it does not name the old one as its predecessor"));
    }
    let rules = homeserver.join_rules(new).await?;
    if rules.is_public() {
        return Ok(Some("it is public"));
    }
    if homeserver.is_encrypted(new).await? {
        if !secrecy.encrypts {
            return Ok(Some("it is encrypted"));
        }
    } else if secrecy.was_encrypted || (!secrecy.may_be_plain && homeserver.is_encrypted(old).await?) {
        return Ok(Some("it is not encrypted, and the old one was"));
    }
    if trust == Trust::Inviter {
        return Ok(None);
    }
    if trust == Trust::OpenToMembers && !rules.admit_members_of(old) {
        return Ok(Some(if rules.need_invitation() {
            "it lets in only those who are invited, and nobody has invited this account"
        } else {
            "it lets in others than the members of the old one"
        }));
    }
    let is_of_member = match creation.sender {
        Some(maker) => homeserver.has_member(old, &maker).await?,
        None => false,
    };
    Ok((!is_of_member).then_some("nobody of the old room has made it or invited this account to it"))
}

fn closed(refusal: &Failure, text: String) -> Diagnosis {
    Diagnosis::Closed(Failure { code: refusal.code.clone(), text })
}
