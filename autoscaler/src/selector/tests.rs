use super::*;

#[track_caller]
fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
    let parsed = Selector::parse(selector).expect(selector);
    let labels: Vec<(String, String)> = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(parsed.matches(&labels), expected, "{selector} on {labels:?}");
}

#[test]
fn every_operator_matches_as_upstream_does() {
    let web = [("app", "web"), ("rank", "7")];
    for (selector, expected) in [
        ("", true),
        ("app", true),
        ("!app", false),
        ("!tier", true),
        ("app=web", true),
        ("app==web", true),
        ("app!=web", false),
        ("tier!=x", true),
        ("app in (api, web)", true),
        ("app notin (api,web)", false),
        ("tier notin (api)", true),
        ("rank>6", true),
        ("rank<6", false),
        ("app>6", false),
        ("tier>6", false),
        ("app=web, rank in (7)", true),
        ("app in ()", false),
        ("in", false),
        ("app in (in)", false),
    ] {
        check(selector, &web, expected);
    }
    check("tier=", &[("tier", "")], true);
    check("tier in (,x)", &[("tier", "")], true);
}

#[test]
fn syntax_errors_have_the_texts_of_the_api_machinery() {
    for (selector, expected) in [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("cheddar cheese", "unable to parse requirement: found 'cheese', expected: in, notin, =, ==, !=, gt, lt"),
        ("app in (web", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ] {
        assert_eq!(Selector::parse(selector), Err(expected.into()), "{selector}");
    }
}

#[test]
fn names_and_values_are_validated() {
    let key = Selector::parse("-a=b").expect_err("a key may not start with a dash");
    assert!(
        key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
        "{key}"
    );
    let value = Selector::parse("a=-b").expect_err("a value may not start with a dash");
    assert!(
        value.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label"),
        "{value}"
    );
}

#[test]
fn a_structured_selector_prints_as_go_prints_it() {
    let mut selector = LabelSelector::default();
    selector.match_labels.insert("queue".into(), "orders".into());
    assert_eq!(
        print_structured(Some(&selector)),
        "&LabelSelector{MatchLabels:map[string]string{queue: orders,},MatchExpressions:[]LabelSelectorRequirement{},}"
    );
    assert_eq!(print_structured(None), "nil");
}
