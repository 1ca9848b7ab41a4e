//! Delivers the Matrix outbox of Odoo.
