"""What XML cannot express for both versions of Odoo, and the clean-up at uninstall."""


def post_init_hook(env):
    """Show the groups as one choice on the user form, and give them to the first users.

    Odoo 18 files groups under ``category_id``, Odoo 19 under ``privilege_id``; neither
    knows the other's field, so XML data can name neither.
    """
    user_group = env.ref("mail_matrix.group_matrix_user")
    manager_group = env.ref("mail_matrix.group_matrix_manager")
    groups = user_group | manager_group
    category = env.ref("mail_matrix.module_category_matrix")
    if "privilege_id" in groups._fields:
        privilege = {
            "xml_id": "mail_matrix.privilege_matrix",
            "values": {"name": category.name, "category_id": category.id},
            "noupdate": True,
        }
        # Its XML ID belongs to this addon, so it is removed together with the addon.
        groups.privilege_id = env["res.groups.privilege"]._load_records([privilege])
    else:
        groups.category_id = category
    members = "user_ids" if "user_ids" in groups._fields else "users"
    manager_group[members] |= env.ref("base.user_root") | env.ref("base.user_admin")


def uninstall_hook(env):
    """Drop what the ORM does not know about: no trigger may fire without the addon.

    The ORM drops the tables afterwards, but could not delete a backend that rows refer
    to.
    """
    env.cr.execute(
        """
        TRUNCATE matrix_outbox, matrix_lane, matrix_backend_status, matrix_worker;
        DROP TRIGGER IF EXISTS matrix_outbox_notify ON matrix_outbox;
        DROP TRIGGER IF EXISTS matrix_backend_changed ON matrix_backend;
        DROP TRIGGER IF EXISTS matrix_backend_moved ON matrix_backend;
        DROP TRIGGER IF EXISTS matrix_backend_encryption ON matrix_backend;
        DROP TRIGGER IF EXISTS matrix_backend_appservice ON matrix_backend;
        DROP FUNCTION IF EXISTS matrix_outbox_notify(), matrix_backend_changed(),
            matrix_consents(text, integer, text);
        DROP TABLE IF EXISTS matrix_requeue, matrix_follower, matrix_upload,
            matrix_crypto, matrix_crypto_item, matrix_crypto_request,
            matrix_encrypted_room, matrix_thread;
        DROP FUNCTION IF EXISTS matrix_database_identity() CASCADE;
        """
    )
