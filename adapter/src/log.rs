//! Structured log lines: one JSON object a line on stdout, with time, level and message, as the service writes them.

use std::io::Write;

use serde_json::{Value, json};

pub(crate) fn error(message: &str, fields: Value) {
    write("error", message, fields);
}

pub(crate) fn warn(message: &str, fields: Value) {
    write("warn", message, fields);
}

pub(crate) fn info(message: &str, fields: Value) {
    write("info", message, fields);
}

fn write(level: &str, message: &str, fields: Value) {
    let mut line = json!({ "time": jiff::Timestamp::now().to_string(), "level": level, "message": message });
    if let Value::Object(fields) = fields {
        for (key, value) in fields {
            line[key] = value;
        }
    }
    // A closed pipe must not stop the adapter: nobody is left to read the complaint.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
