//! The string form of selectors: scanner and recursive descent, with upstream's error texts.
//!
//! A word such as `in` is an operator or a value depending on where it stands, so the parser looks at tokens in
//! context.

use std::collections::BTreeSet;

use super::{Operator, Requirement};
use crate::field::{self, FieldError, quote};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    End,
    Close,
    Open,
    Comma,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    In,
    NotIn,
    Word,
    Error,
}

struct Token {
    kind: Kind,
    text: String,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: scan(text), position: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Kind::Word | Kind::Not => {
                let requirement = parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                requirements.push(requirement);
                let (kind, text) = parser.take();
                match kind {
                    Kind::End => return Ok(requirements),
                    Kind::Comma if !matches!(parser.peek(), Kind::Word | Kind::Not) => {
                        return Err(format!("found '{}', expected: identifier after ','", parser.text()));
                    }
                    Kind::Comma => {}
                    _ => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
                }
            }
            Kind::End => return Ok(requirements),
            _ => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", parser.text())),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    /// The next token where a value may stand: `in` and `notin` are words there.
    fn peek(&self) -> Kind {
        match self.tokens.get(self.position).map_or(Kind::End, |t| t.kind) {
            Kind::In | Kind::NotIn => Kind::Word,
            kind => kind,
        }
    }

    fn text(&self) -> &str {
        self.tokens.get(self.position).map_or("", |t| &t.text)
    }

    fn take(&mut self) -> (Kind, String) {
        let taken = (self.peek(), self.text().to_owned());
        self.position += 1;
        taken
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut kind, mut key) = self.take();
        let negated = kind == Kind::Not;
        if negated {
            (kind, key) = self.take();
        }
        if kind != Kind::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let errors = field::qualified_name_errors(&key);
        if !errors.is_empty() {
            // Upstream has no path here, and prints it so.
            return Err(FieldError::invalid("<nil>".into(), quote(&key), &errors.join("; ")).to_string());
        }
        let (operator, values) = if negated {
            (Operator::DoesNotExist, BTreeSet::new())
        } else if matches!(self.peek(), Kind::End | Kind::Comma) {
            (Operator::Exists, BTreeSet::new())
        } else {
            let operator = self.operator()?;
            let values = match operator {
                Operator::In | Operator::NotIn => self.values()?,
                _ => BTreeSet::from([self.exact_value()?]),
            };
            (operator, values)
        };
        let values: Vec<String> = values.into_iter().collect();
        match Requirement::check(&key, operator, &values) {
            Some(error) => Err(error),
            None => Ok(Requirement { key, operator, values }),
        }
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let kind = self.tokens.get(self.position).map_or(Kind::End, |t| t.kind);
        let (_, text) = self.take();
        match kind {
            Kind::In => Ok(Operator::In),
            Kind::NotIn => Ok(Operator::NotIn),
            Kind::Equals => Ok(Operator::Equals),
            Kind::NotEquals => Ok(Operator::NotEquals),
            Kind::Greater => Ok(Operator::GreaterThan),
            Kind::Less => Ok(Operator::LessThan),
            _ => Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// `(a,b,)`: an omitted value is the empty string.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (kind, text) = self.take();
        if kind != Kind::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        match self.peek() {
            Kind::Word | Kind::Comma => {
                let values = self.value_list()?;
                self.take();
                Ok(values)
            }
            Kind::Close => {
                self.take();
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!("found '{}', expected: ',', ')' or identifier", self.text())),
        }
    }

    /// Ends before the closing parenthesis.
    fn value_list(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            let (kind, text) = self.take();
            match kind {
                Kind::Word => {
                    values.insert(text);
                    match self.peek() {
                        Kind::Comma => {}
                        Kind::Close => return Ok(values),
                        _ => return Err(format!("found '{}', expected: ',' or ')'", self.text())),
                    }
                }
                Kind::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek() {
                        Kind::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Kind::Comma => {
                            self.take();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Kind::End | Kind::Comma) {
            return Ok(String::new());
        }
        let (kind, text) = self.take();
        if kind == Kind::Word { Ok(text) } else { Err(format!("found '{text}', expected: identifier")) }
    }
}

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        // Upstream's scanner takes a NUL byte for the end.
        let Some(first) = rest.chars().next().filter(|&c| c != '\0') else {
            tokens.push(Token { kind: Kind::End, text: String::new() });
            return tokens;
        };
        let (token, length) = if is_special(first) { special(rest) } else { word(rest) };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn is_special(c: char) -> bool {
    "=!(),><".contains(c)
}

fn word(rest: &str) -> (Token, usize) {
    let end = rest.find(|c: char| is_special(c) || " \t\r\n\0".contains(c)).unwrap_or(rest.len());
    let text = &rest[..end];
    let kind = match text {
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        _ => Kind::Word,
    };
    (Token { kind, text: text.to_owned() }, end)
}

/// The longest operator at the start. Every single symbol is one, so there always is a match.
fn special(rest: &str) -> (Token, usize) {
    const SYMBOLS: [(&str, Kind); 9] = [
        ("==", Kind::Equals),
        ("!=", Kind::NotEquals),
        ("=", Kind::Equals),
        ("!", Kind::Not),
        ("(", Kind::Open),
        (")", Kind::Close),
        (",", Kind::Comma),
        (">", Kind::Greater),
        ("<", Kind::Less),
    ];
    let symbol = SYMBOLS.iter().find(|(s, _)| rest.starts_with(s));
    let &(text, kind) = symbol.unwrap_or(&("", Kind::Error));
    (Token { kind, text: text.to_owned() }, text.len().max(1))
}
