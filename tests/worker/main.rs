//! The worker on a real PostgreSQL, against a homeserver that fails on demand.

mod contract;
mod delivery;
mod limits;
mod outage;
mod several;
mod world;
