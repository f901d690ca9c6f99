//! The comparison itself, and that the committed pages are the recording's.

use super::*;

/// Rewrites the committed pages from the recording.
const UPDATE: &str = "UPDATE_EXPECT";

#[test]
fn names_ages_figures_and_addresses_make_no_difference_and_words_do() {
    let cases = [
        (
            "work   Deployment/work   cpu: 250%/50%   1         10        1          105s",
            "work  Deployment/work  cpu: #/#  1  #  1  #",
        ),
        ("work-7785ff4bc8-jfsd8   1/1     Running   0          81s", "<pod>  1/1  Running  0  #"),
        (
            "  Normal  Scaled up replica set work-7785ff4bc8 from 0 to 1",
            "  Normal  Scaled up replica set <replica set> from 0 to 1",
        ),
        ("CreationTimestamp:    Mon, 23 Nov 2026 20:52:20 +0000", "CreationTimestamp:  <time>"),
        (r#"  - lastTransitionTime: "2026-11-23T20:52:35Z""#, r#"  - lastTransitionTime: "<time>""#),
        ("  uid: 675f7e0e-a61e-402a-aa6e-35b349cf82cd", "  uid: <uid>"),
        (r#"Get "http://10.244.0.64:8080/readyz": timed out"#, r#"Get "http://<ip>:#/readyz": timed out"#),
        (
            "Successfully assigned default/work-7785ff4bc8-jfsd8 to node1",
            "Successfully assigned default/<pod> to <node>",
        ),
        (r#"Container image "localhost/work:1" already present"#, r#"Container image "<image>" already present"#),
        ("New size: 4; reason: All metrics below target", "New size: #; reason: All metrics below target"),
        ("Deployment pods:    1 current / 0 desired", "Deployment pods:  1 current / 0 desired"),
    ];
    for (text, normal) in cases {
        assert_eq!(normal::line(text), normal);
    }
}

#[test]
fn a_line_that_is_missing_or_too_much_is_shown() {
    let recorded = Page::new("s", 0.0, "kubectl get hpa", "NAME   AGE\nwork   5s\nlast\n");
    let same = recorded.compare("NAME   AGE\nwork   5m\nlast");
    assert_eq!((same.found, same.wanted, same.unlike.len()), (3, 3, 0));
    let other = recorded.compare("NAME   AGE\nwork   <unknown>\nlast");
    assert_eq!((other.found, other.unlike.join("|")), (2, "- work  #|+ work  <unknown>".to_owned()));
    // The order counts, but for events.
    assert_eq!(recorded.compare("work   5m\nNAME   AGE\nlast").found, 2);
    let events = Page::new("s", 0.0, "kubectl get events", "a\nb\n?? c\n");
    assert_eq!(events.compare("b\na\na").unlike, Vec::<String>::new());
    let line = events.compare("b\nc\nd").to_string();
    assert!(line.ends_with("1 of   2 lines as recorded\n    - a\n    + d"), "{line}");
}

#[test]
fn there_is_a_page_for_every_stage() {
    let pages = read(RECORDED);
    assert_eq!(read(&write(&pages)), pages);
    let stages: BTreeSet<&str> = pages.iter().map(|page| page.stage.as_str()).collect();
    assert_eq!(stages.len(), 12, "eleven stages and the watches: {stages:?}");
}

#[test]
fn the_committed_pages_are_those_of_the_recording() {
    let Some(folder) = crate::recorded::root().map(|root| root.join("real-cluster/golden")) else { return };
    let recorded = read_folder(&folder).unwrap();
    let text = write(&recorded);
    assert_eq!(read(&text), recorded);
    let head: String = RECORDED.lines().take_while(|line| line.starts_with("# ")).map(|it| format!("{it}\n")).collect();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/real-cluster.txt");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(committed, head + &text).unwrap();
    } else {
        assert_eq!(RECORDED, head + &text, "{UPDATE}=1 rewrites it");
    }
}
