//! Who may talk to the API: the bearer of the one token of this instance, compared in constant time.
//!
//! There is one user, an administrator; RBAC objects are stored and listed, not enforced.

use crate::status::ApiError;

/// The user that the token stands for.
pub const USER: &str = "nanokube-admin";
pub const GROUPS: [&str; 2] = ["system:masters", "system:authenticated"];

/// The secret of an instance. Never printed by Debug.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub fn new(secret: String) -> Token {
        Token(secret)
    }

    /// Takes as long for a near miss as for a far one.
    fn is(&self, sent: &str) -> bool {
        let (wanted, sent) = (self.0.as_bytes(), sent.as_bytes());
        let differing =
            wanted.iter().enumerate().fold(0u8, |sum, (at, byte)| sum | (byte ^ sent.get(at).unwrap_or(&!byte)));
        std::hint::black_box(differing) == 0 && wanted.len() == sent.len() && !wanted.is_empty()
    }
}

/// Lets the bearer of the token pass; nobody is 403, a wrong token 401.
pub(crate) fn check(token: &Token, authorization: &str, path: &str) -> Result<(), ApiError> {
    if authorization.is_empty() {
        let message = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
        return Err(ApiError { details: serde_json::json!({}), ..ApiError::new(403, "Forbidden", message) });
    }
    let sent = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("bearer "));
    match sent {
        Some(sent) if token.is(sent.trim()) => Ok(()),
        _ => Err(ApiError::unauthorized()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_token_passes() {
        let token = Token::new("secret".into());
        assert!(check(&token, "Bearer secret", "/").is_ok());
        for (sent, code) in [("", 403), ("Bearer secre", 401), ("Bearer secrett", 401), ("Basic c2VjcmV0", 401)] {
            assert_eq!(check(&token, sent, "/").unwrap_err().code, code, "{sent}");
        }
    }
}
