//! What an API server answered to the controller, and a refusal in the words of client-go: the `Status` that came, or,
//! where a server sent none, a sentence by the code with what was asked for in brackets. These words end up in events and
//! conditions.

use serde_json::Value;

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub body: Vec<u8>,
}

/// An answer that is not success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

impl Refusal {
    pub fn is_conflict(&self) -> bool {
        self.code == 409
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }
}

/// How much of a page that is no `Status` is repeated.
const TEXT_MAX: usize = 2048;

impl Answer {
    /// The object of a success. `asked` names what a refusal is about: the verb, the resource and, after a blank, the name.
    pub fn read(&self, asked: &str) -> Result<Value, Refusal> {
        let parsed = serde_json::from_slice::<Value>(&self.body);
        if (200..300).contains(&self.code) {
            let unreadable = |error| format!("couldn't read the answer ({asked}): {error}");
            return parsed.map_err(|error| Refusal { code: self.code, message: unreadable(error) });
        }
        let status = parsed.ok().filter(|it| it["kind"] == "Status" && it["status"] == "Failure");
        let message = match status.as_ref().and_then(|status| status["message"].as_str()) {
            Some(message) => message.to_owned(),
            None => format!("{} ({asked})", self.sentence()),
        };
        Err(Refusal { code: self.code, message })
    }

    fn sentence(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(TEXT_MAX)]).trim().to_owned();
        let sentence = match self.code {
            401 => "the server has asked for the client to provide credentials",
            403 => return text,
            404 => "the server could not find the requested resource",
            405 => "the server does not allow this method on the requested resource",
            409 => "the server reported a conflict",
            429 => "the server has received too many requests and has asked us to try again later",
            503 => "the server is currently unable to handle the request",
            504 => {
                "the server was unable to return a response in the time allotted, but may still be processing the \
                 request"
            }
            500.. => return format!("an error on the server ({text:?}) has prevented the request from succeeding"),
            code => {
                return format!("the server responded with the status code {code} but did not return more information");
            }
        };
        sentence.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_speaks_as_client_go_does() {
        let status = r#"{"kind":"Status","status":"Failure","message":"no rps for pods","code":404}"#;
        let cases = [
            (404, status, "no rps for pods"),
            (404, "404 page not found", "the server could not find the requested resource (get pods.example.com *)"),
            (
                503,
                "service unavailable\n",
                "the server is currently unable to handle the request (get pods.example.com *)",
            ),
            (
                500,
                "boom\n",
                "an error on the server (\"boom\") has prevented the request from succeeding (get pods.example.com *)",
            ),
        ];
        for (code, body, message) in cases {
            let answer = Answer { code, body: body.into() };
            let refusal = answer.read("get pods.example.com *").unwrap_err();
            assert_eq!((refusal.code, refusal.message.as_str()), (code, message));
        }
        assert_eq!(Answer { code: 200, body: "{}".into() }.read("").unwrap(), serde_json::json!({}));
    }
}
