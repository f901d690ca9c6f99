//! RFC 6902 on JSON values: `add remove replace move copy test`, with messages that name operation and path.

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    op: String,
    path: String,
    from: Option<String>,
    /// Told apart from an explicit null, which is a value like any other.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(super) fn apply(target: &mut Value, operations: &[Operation]) -> Result<()> {
    for operation in operations {
        operation.apply(target).with_context(|| format!("`{} {}`", operation.op, operation.path))?;
    }
    Ok(())
}

impl Operation {
    fn apply(&self, target: &mut Value) -> Result<()> {
        match self.op.as_str() {
            "add" => add(target, &self.path, self.value()?),
            "remove" => remove(target, &self.path).map(drop),
            "replace" => {
                *existing(target, &self.path)? = self.value()?;
                Ok(())
            }
            "move" => {
                let moved = remove(target, self.from()?)?;
                add(target, &self.path, moved)
            }
            "copy" => {
                let copied = existing(target, self.from()?)?.clone();
                add(target, &self.path, copied)
            }
            "test" => match existing(target, &self.path)? {
                have if *have == self.value()? => Ok(()),
                have => bail!("it is {have}"),
            },
            other => bail!("`op` is {other:?}; it is one of add, remove, replace, move, copy, test"),
        }
    }

    fn value(&self) -> Result<Value> {
        self.value.clone().context("`value` is missing")
    }

    fn from(&self) -> Result<&str> {
        self.from.as_deref().context("`from` is missing")
    }
}

fn existing<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    target.pointer_mut(path).ok_or_else(|| anyhow!("there is nothing at {path:?}"))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<()> {
    let Some((parent, key)) = split(path)? else {
        *target = value;
        return Ok(());
    };
    match existing(target, parent)? {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(list) => {
            let at = if key == "-" { list.len() } else { index(&key)? };
            if at > list.len() {
                bail!("the list has only {} elements", list.len());
            }
            list.insert(at, value);
        }
        _ => bail!("{parent:?} is neither a map nor a list"),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value> {
    let Some((parent, key)) = split(path)? else { bail!("the whole object cannot be removed") };
    let gone = match existing(target, parent)? {
        Value::Object(map) => map.remove(&key),
        Value::Array(list) => {
            let at = index(&key)?;
            (at < list.len()).then(|| list.remove(at))
        }
        _ => None,
    };
    gone.ok_or_else(|| anyhow!("there is nothing at {path:?}"))
}

/// The parent's pointer and the unescaped last part; nothing for the whole document.
fn split(path: &str) -> Result<Option<(&str, String)>> {
    if path.is_empty() {
        return Ok(None);
    }
    let (parent, key) = path.rsplit_once('/').context("a path starts with `/`")?;
    Ok(Some((parent, key.replace("~1", "/").replace("~0", "~"))))
}

fn index(key: &str) -> Result<usize> {
    key.parse().with_context(|| format!("{key:?} is no index into a list"))
}
