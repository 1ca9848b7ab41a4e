def post_init_hook(env):
    """Show the groups as one choice on the user form, and give them to the first users.

    Odoo 18 orders groups by ``category_id``, Odoo 19 by ``privilege_id``: the fields
    exclude each other, so XML data cannot name either.
    """
    user_group = env.ref("legal_case.legal_case_group_user")
    manager_group = env.ref("legal_case.legal_case_group_manager")
    groups = user_group | manager_group
    category = env.ref("legal_case.module_category_legal_case")
    if "privilege_id" in groups._fields:
        privilege = {
            "xml_id": "legal_case.privilege_legal_case",
            "values": {"name": category.name, "category_id": category.id},
            "noupdate": True,
        }
        # Its XML ID belongs to this addon, so it is removed together with the addon.
        groups.privilege_id = env["res.groups.privilege"]._load_records([privilege])
    else:
        groups.category_id = category
    members = "user_ids" if "user_ids" in groups._fields else "users"
    manager_group[members] = env.ref("base.user_root") | env.ref("base.user_admin")
    # Exists in databases with demo data only.
    demo_user = env.ref("base.user_demo", raise_if_not_found=False)
    if demo_user:
        user_group[members] |= demo_user
