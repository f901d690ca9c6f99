//! JSON patch (RFC 6902): a list of operations; the first that cannot be carried out refuses the whole patch.

use serde_json::Value;

use crate::status::ApiError;

/// Most operations one patch may hold; the limit of the real server.
const OPERATIONS_LIMIT: usize = 10_000;

/// `target` after all `operations`.
pub fn apply(mut target: Value, operations: &Value) -> Result<Value, ApiError> {
    let Some(operations) = operations.as_array() else {
        let message =
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        return Err(ApiError::bad_request(message));
    };
    if operations.len() > OPERATIONS_LIMIT {
        let message = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}");
        return Err(ApiError::too_large(message));
    }
    for operation in operations {
        step(&mut target, operation).ok_or_else(rejected)?;
    }
    Ok(target)
}

fn rejected() -> ApiError {
    let message = "the server rejected our request due to an error in our request";
    ApiError { details: serde_json::json!({}), ..ApiError::new(422, "Invalid", message) }
}

fn step(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let value = || operation.get("value").cloned();
    let from = || operation.get("from")?.as_str();
    match operation.get("op")?.as_str()? {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            *target.pointer_mut(path)? = value()?;
            Some(())
        }
        "move" => {
            let moved = remove(target, from()?)?;
            add(target, path, moved)
        }
        "copy" => {
            let copied = target.pointer(from()?)?.clone();
            add(target, path, copied)
        }
        "test" => (target.pointer(path).unwrap_or(&Value::Null) == operation.get("value")?).then_some(()),
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            let at: usize = last.parse().ok().filter(|at| *at <= list.len())?;
            list.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(list) => {
            let at: usize = last.parse().ok().filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_work_in_order() {
        let patched = apply(
            json!({"a": [1, 2], "b": {"c/d": 1}}),
            &json!([
                {"op": "test", "path": "/a/0", "value": 1},
                {"op": "add", "path": "/a/1", "value": 9},
                {"op": "add", "path": "/a/-", "value": 3},
                {"op": "remove", "path": "/b/c~1d"},
                {"op": "move", "from": "/a/0", "path": "/b/x"},
                {"op": "copy", "from": "/b/x", "path": "/y"},
                {"op": "replace", "path": "/y", "value": 5}
            ]),
        );
        assert_eq!(patched.unwrap(), json!({"a": [9, 2, 3], "b": {"x": 1}, "y": 5}));
    }

    #[test]
    fn what_cannot_be_done_is_refused_whole() {
        for operations in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "remove", "path": "/nope"}]),
            json!([{"op": "replace", "path": "/nope/x", "value": 1}]),
            json!([{"op": "fly", "path": "/a"}]),
        ] {
            assert_eq!(apply(json!({"a": 1}), &operations).unwrap_err().code, 422, "{operations}");
        }
        assert_eq!(apply(json!({}), &json!({})).unwrap_err().code, 400);
    }
}
