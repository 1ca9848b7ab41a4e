from odoo.tests import tagged

from .common import TicketCase

ROOM = "!project:example.org"


@tagged("post_install", "-at_install")
class TestAutomationRules(TicketCase):
    """The server action as people use it, on a model that knows nothing of Matrix."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        missing = {"base.automation", "project.task"} - set(cls.env.registry)
        if missing:
            cls.skipTest(cls, f"Without the models {missing} there are no such rules")
        cls.project = cls.env["project.project"].create({"name": "Renovation"})
        cls.commit()
        cls.clear_outbox()

    def rule_on_tasks(self, trigger):
        model = {"model_id": self.env["ir.model"]._get_id("project.task")}
        action = {
            **model,
            "name": "Tell Matrix",
            "state": "matrix",
            "matrix_room": ROOM,
            "matrix_template": "{{ object.name }} in {{ object.project_id.name }}",
        }
        return self.env["base.automation"].create(
            {
                **model,
                "name": "Tell Matrix",
                "trigger": trigger,
                "action_server_ids": [(0, 0, action)],
            }
        )

    def create_task(self):
        return self.env["project.task"].create(
            {"name": "Paint the door", "project_id": self.project.id}
        )

    def test_a_rule_posts_a_new_task_in_a_room(self):
        self.rule_on_tasks("on_create_or_write")

        task = self.create_task()
        self.commit()

        (row,) = self.outbox()
        self.assertEqual(row["content"]["body"], "Paint the door in Renovation")
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual((row["res_model"], row["res_id"]), ("project.task", task.id))

    def test_a_rule_on_deletion_is_not_silent(self):
        task = self.create_task()
        self.rule_on_tasks("on_unlink")

        task.unlink()
        self.commit()

        self.assertEqual(self.outbox(), [])
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.no_record")
