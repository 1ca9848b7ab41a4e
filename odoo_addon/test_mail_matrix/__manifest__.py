{
    "name": "Matrix Messages: Tests",
    "summary": "Models that exist for the tests of mail_matrix only",
    "version": "18.0.1.0.0",
    "category": "Hidden/Tests",
    "author": "Odoo Matrix Outbox contributors, Odoo Community Association (OCA)",
    "website": "https://github.com/OCA/social",
    "license": "AGPL-3",
    "development_status": "Beta",
    "depends": ["mail_matrix"],
    "data": [
        "security/ir.model.access.csv",
        "security/test_matrix_rules.xml",
        "views/test_matrix_ticket_views.xml",
    ],
}
