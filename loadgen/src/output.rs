//! What people and other programs read: each form of a result in a file of its own, all functions of the records.

pub mod charset;
pub mod csv;
pub mod exporter;
pub mod hgrm;
pub mod history;
pub mod html;
pub mod live;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod prometheus;
pub mod text;
