use serde_json::json;

use super::*;

fn check(selector: &str, labels: Value, wanted: bool) {
    let parsed = LabelSelector::parse(selector).unwrap();
    assert_eq!(parsed.matches(labels.as_object()), wanted, "{selector} on {labels}");
}

#[test]
fn every_operator_selects_as_the_contract_says() {
    let web = json!({ "app": "web", "n": "3" });
    for (selector, wanted) in [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app!=web", false),
        ("other!=web", true),
        ("app in (web, db)", true),
        ("app notin (web)", false),
        ("other notin (web)", true),
        ("app", true),
        ("!app", false),
        ("!other", true),
        ("n>2", true),
        ("n<3", false),
        ("app=web,n=3", true),
        ("app=web,n=4", false),
        ("app=", false),
    ] {
        check(selector, web.clone(), wanted);
    }
}

#[test]
fn broken_selectors_are_refused_with_the_words_of_the_real_server() {
    let error = LabelSelector::parse("a b").unwrap_err();
    assert_eq!(error.code, 400);
    assert_eq!(error.message, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    assert!(LabelSelector::parse("a in x").is_err());
    assert!(LabelSelector::parse("a=b,").is_err());
}

#[test]
fn a_null_selector_selects_nothing_and_an_empty_one_everything() {
    assert!(!LabelSelector::from_value(&Value::Null).matches(None));
    assert!(LabelSelector::from_value(&json!({})).matches(None));
}

#[test]
fn selectors_print_sorted_by_key() {
    let text = LabelSelector::parse("b=2,a in (y,x),!c").unwrap().to_string();
    assert_eq!(text, "a in (x,y),b=2,!c");
}

#[test]
fn field_selectors_know_equal_and_unequal_only() {
    let selector = FieldSelector::parse("status.phase!=Running,metadata.name=x").unwrap();
    assert!(selector.matches(|field| if field == "metadata.name" { "x".into() } else { "Pending".into() }));
    assert_eq!(selector.exact_name(), Some("x"));
    let error = FieldSelector::parse("status.phase in (a)").unwrap_err();
    assert_eq!(error.message, "invalid selector: 'status.phase in (a)'; can't understand 'status.phase in (a)'");
}
