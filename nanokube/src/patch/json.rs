//! JSON patch (RFC 6902): a list of operations; the first that cannot be carried out refuses the whole patch.

use serde_json::Value;

use crate::status::ApiError;

/// Most operations one patch may hold; the limit of the real server.
const OPERATIONS_LIMIT: usize = 10_000;

/// How deep a value may end up, and how many values all operations together may put in place: without these a short
/// patch could copy a value into itself until memory or the stack is gone.
const DEPTH_LIMIT: usize = 128;
const VALUES_LIMIT: usize = 1 << 20;

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
    let mut values_left = VALUES_LIMIT;
    for operation in operations {
        let op = operation.get("op").and_then(Value::as_str).unwrap_or_default();
        if matches!(op, "move" | "copy" | "add") {
            check_growth(&target, operation, &mut values_left)?;
        }
        step(&mut target, operation).ok_or_else(rejected)?;
    }
    Ok(target)
}

fn check_growth(target: &Value, operation: &Value, values_left: &mut usize) -> Result<(), ApiError> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str);
    let placed = operation.get("value").or_else(|| target.pointer(text("from")?));
    let depth = text("path").unwrap_or_default().split('/').count();
    match placed {
        Some(placed) if !fits(placed, depth, values_left) => {
            let message = format!(
                "the JSON patch makes a value deeper than {DEPTH_LIMIT} or puts more than {VALUES_LIMIT} values in place"
            );
            Err(ApiError::too_large(message))
        }
        _ => Ok(()),
    }
}

fn fits(value: &Value, depth: usize, values_left: &mut usize) -> bool {
    if depth > DEPTH_LIMIT || *values_left == 0 {
        return false;
    }
    *values_left -= 1;
    match value {
        Value::Object(map) => map.values().all(|below| fits(below, depth + 1, values_left)),
        Value::Array(list) => list.iter().all(|below| fits(below, depth + 1, values_left)),
        _ => true,
    }
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
    fn a_value_cannot_be_copied_into_itself_without_end() {
        let doubling = json!({ "op": "copy", "from": "/a", "path": "/a/-" });
        let wide = apply(json!({ "a": [1] }), &vec![doubling; 64].into()).unwrap_err();
        let swap = vec![
            json!({ "op": "add", "path": "/b", "value": {} }),
            json!({ "op": "move", "from": "/a", "path": "/b/x" }),
            json!({ "op": "move", "from": "/b", "path": "/a" }),
        ];
        let deep = apply(json!({ "a": 1 }), &vec![swap; 3_000].concat().into()).unwrap_err();
        assert_eq!([wide.code, deep.code], [413, 413]);
    }

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
