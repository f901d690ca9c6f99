//! Which characters a reader can show: charts and units fall back to ASCII where the locale is known not to be UTF-8.
//!
//! A locale that is not set at all says nothing, and terminals of today show UTF-8.

use std::borrow::Cow;

/// Text as the locale of this process can show it.
pub fn for_locale(text: &str) -> Cow<'_, str> {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    match locale {
        Some(locale) if !is_utf8(&locale) => Cow::Owned(ascii(text)),
        _ => Cow::Borrowed(text),
    }
}

fn is_utf8(locale: &str) -> bool {
    let charset = locale.to_ascii_lowercase();
    charset.contains("utf-8") || charset.contains("utf8")
}

fn ascii(text: &str) -> String {
    let shown = |c: char| match c {
        '▁' => '.',
        '▂' | '▏' => ':',
        '▃' | '▎' => '-',
        '▄' | '▍' => '=',
        '▅' | '▌' => '+',
        '▆' | '▋' => '*',
        '▇' | '▊' => '%',
        '█' | '▉' => '#',
        '│' => '|',
        '└' => '+',
        '─' => '-',
        'µ' => 'u',
        c if c.is_ascii() => c,
        _ => '?',
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::plot::{bar, columns, sparkline, time};

    #[test]
    fn every_chart_has_an_ascii_form_of_the_same_width() {
        let values: Vec<f64> = (0..40).map(|value| value as f64).collect();
        let charts = [sparkline(&values, 40), columns(&values, 40, 3).join("|"), bar(0.33, 20), time(5.0)];
        for chart in charts {
            let plain = ascii(&chart);
            assert!(plain.is_ascii() && !plain.contains('?'), "{plain}");
            assert_eq!(plain.len(), chart.chars().count());
        }
    }

    #[test]
    fn a_locale_names_its_charset() {
        for (locale, utf8) in
            [("C.UTF-8", true), ("de_AT.utf8", true), ("C", false), ("POSIX", false), ("de_DE@euro", false)]
        {
            assert_eq!(is_utf8(locale), utf8, "{locale}");
        }
    }
}
