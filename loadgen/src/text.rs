//! Reading the small languages of this crate (patterns, thresholds) and saying where a text is wrong.
//!
//! A cursor over the text hands out words, numbers and signs. Every error carries the column and the word that stands
//! there, on one line, so that it reads the same on a terminal and inside a YAML error.

use std::fmt;

use crate::span::Span;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    pub column: usize,
    pub near: String,
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.near.is_empty() {
            true => write!(f, "at the end (column {}): {}", self.column, self.message),
            false => write!(f, "at column {}, `{}`: {}", self.column, self.near, self.message),
        }
    }
}

impl std::error::Error for TextError {}

impl TextError {
    /// The text with a caret under the place, in two lines, for a terminal.
    pub fn caret_under(&self, text: &str) -> String {
        let before = text.chars().take(self.column - 1);
        // A tab stays one, so that the caret stands below whatever its width; line breaks would tear the two apart.
        let blank: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        format!("    {}\n    {blank}^", text.replace(['\n', '\r'], " "))
    }
}

/// A reading position in a text.
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The place of the next word, to blame it later.
    pub fn place(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    pub fn at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// An error at the next word.
    pub fn error(&mut self, message: impl Into<String>) -> TextError {
        let place = self.place();
        self.error_at(place, message)
    }

    /// An error at an earlier place.
    pub fn error_at(&self, place: usize, message: impl Into<String>) -> TextError {
        let rest = &self.text[place..];
        let near: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != ',').take(24).collect();
        let near = if near.is_empty() { rest.chars().take(1).collect() } else { near };
        TextError { column: self.text[..place].chars().count() + 1, near, message: message.into() }
    }

    /// Consumes `sign` when it is next.
    pub fn eat(&mut self, sign: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Consumes `word` when it is next and stands alone.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    /// The next word (letters, digits, `_`, `.`), not consumed; empty when a sign is next.
    pub fn peek_word(&mut self) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        &rest[..end]
    }

    pub fn word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// Everything up to the next blank, or a quoted text.
    pub fn token(&mut self) -> Option<String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            self.at += end + 2;
            return Some(quoted[..end].to_owned());
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == ',' || c == ')').unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| rest[..end].to_owned())
    }

    /// A plain number; stops before `..`.
    pub fn number(&mut self, what: &str) -> Result<f64, TextError> {
        let place = self.place();
        let rest = &self.text[place..];
        let mut end = 0;
        let bytes = rest.as_bytes();
        while end < bytes.len() {
            let range_starts = rest[end..].starts_with("..");
            if range_starts || !(bytes[end].is_ascii_digit() || bytes[end] == b'.') {
                break;
            }
            end += 1;
        }
        match rest[..end].parse::<f64>() {
            Ok(number) => {
                self.at = place + end;
                Ok(number)
            }
            Err(_) => Err(self.error(format!("expected {what}"))),
        }
    }

    /// A request rate: `500`, `1.5k`, optionally followed by `/s`.
    pub fn rate(&mut self) -> Result<f64, TextError> {
        let place = self.place();
        let number = self.number("a rate in requests per second, such as 500")?;
        let rate = if self.text[self.at..].starts_with('k') {
            self.at += 1;
            number * 1000.0
        } else {
            number
        };
        if self.text[self.at..].starts_with("/s") {
            self.at += 2;
        }
        if rate > RATE_MAX {
            return Err(self.error_at(place, format!("more than {RATE_MAX} requests per second")));
        }
        Ok(rate)
    }

    /// `LOW..HIGH` as two rates.
    pub fn rate_range(&mut self) -> Result<(f64, f64), TextError> {
        let low = self.rate()?;
        if !self.eat("..") {
            return Err(self.error("expected `..` and a second rate, as in 10..500"));
        }
        Ok((low, self.rate()?))
    }

    /// A duration that is not zero.
    pub fn span(&mut self) -> Result<Span, TextError> {
        let place = self.place();
        let word = self.word();
        if word.is_empty() {
            return Err(self.error_at(place, "expected a duration such as 30s"));
        }
        match word.parse::<Span>() {
            Ok(span) if span.as_ns() > 0 => Ok(span),
            Ok(_) => Err(self.error_at(place, "a duration of zero does nothing")),
            Err(message) => Err(self.error_at(place, message)),
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }
}

/// Ten million requests per second: more than one machine can send.
pub const RATE_MAX: f64 = 10_000_000.0;

/// A number as people write it: no trailing zeros, no exponent.
pub fn plain(number: f64) -> String {
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_word_that_is_wrong() {
        for (text, place) in [("ramp 1..2 5s, hld 2m", 14), ("hold\t5 ", 5), ("größe < 5", 8), ("a\nb", 2)] {
            let error = TextError { column: place + 1, near: String::new(), message: String::new() };
            let shown = error.caret_under(text);
            let (line, caret) = shown.split_once('\n').unwrap();
            assert_eq!(caret.chars().count(), 4 + place + 1);
            assert_eq!(line.chars().nth(4 + place), text.chars().nth(place), "{shown}");
        }
    }
}
