{
    "name": "Legal Cases in Matrix",
    "summary": "Post what happens to a case in its Matrix room",
    "version": "18.0.1.0.0",
    "category": "Services/Legal",
    "author": "Odoo Matrix Outbox contributors, Odoo Community Association (OCA)",
    "website": "https://github.com/OCA/social",
    "license": "AGPL-3",
    "development_status": "Beta",
    "depends": ["legal_case", "mail_matrix"],
    "auto_install": True,
    "data": [
        "views/legal_case_views.xml",
        "views/legal_case_stage_views.xml",
        "views/matrix_backend_views.xml",
        "views/matrix_log_views.xml",
    ],
    "assets": {
        "web.assets_tests": ["legal_case_matrix/static/tests/**/*"],
    },
    "demo": ["demo/legal_case_matrix_demo.xml"],
    "uninstall_hook": "uninstall_hook",
}
