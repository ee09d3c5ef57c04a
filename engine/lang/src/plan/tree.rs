//! A plan as a tree, for people.

use serde_json::Value;
use yuanli_model::Grant;

use super::{Instances, Open, Outlook, Plan, Planned, PlannedStage, PlannedWork, Why};
use crate::duration;
use crate::value::escaped;

/// Longest value that is shown whole, in characters: what is longer is in the plan as data.
const MAX_VALUE: usize = 200;

/// Most instances that are listed.
const MAX_INSTANCES: usize = 10;

/// A line with those that belong to it.
struct Node {
    text: String,
    children: Vec<Node>,
}

impl Plan {
    /// The plan as a tree; lines are broken to `width` columns, if there is one.
    #[must_use]
    pub fn tree(&self, width: Option<usize>) -> String {
        let mut root = Node::new(format!("{} ({})", self.workflow, count(self.stages().count(), "stage")));
        if !self.inputs.is_empty() {
            let inputs =
                self.inputs.iter().map(|(name, value)| Node::new(format!("{name} = {}", shown(value))));
            root.children.push(Node { text: "inputs".to_owned(), children: inputs.collect() });
        }
        for (number, step) in self.steps.iter().enumerate() {
            let when = super::when(step.section).map(|when| format!(" ({}: {when})", step.section.name()));
            root.children.push(Node {
                text: format!("step {}{}", number + 1, when.unwrap_or_default()),
                children: step.stages.iter().map(stage).collect(),
            });
        }
        let mut drawn = String::new();
        root.draw("", "", width.unwrap_or(usize::MAX), &mut drawn);
        drawn
    }
}

impl Node {
    fn new(text: String) -> Self {
        Self { text, children: Vec::new() }
    }

    /// `first` stands before its first line, `rest` before all below it.
    fn draw(&self, first: &str, rest: &str, width: usize, drawn: &mut String) {
        let room = width.saturating_sub(rest.chars().count()).max(20);
        // What a broken line goes on with stands under its children.
        let beneath = if self.children.is_empty() { "   " } else { "│  " };
        for (number, line) in broken(&self.text, room).iter().enumerate() {
            let (before, inset) = if number == 0 { (first, "") } else { (rest, beneath) };
            drawn.push_str(format!("{before}{inset}{line}").trim_end());
            drawn.push('\n');
        }
        for (number, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if number + 1 == self.children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            child.draw(&format!("{rest}{branch}"), &format!("{rest}{below}"), width, drawn);
        }
    }
}

/// A text in lines of at most `width` characters, broken at blanks where it has some; all but the first are three
/// shorter.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in text.split(' ') {
        let mut rest = word;
        let is_begun = lines.last().is_some_and(|line| !line.is_empty());
        if is_begun && rest.chars().count() < room {
            push(&mut lines, " ");
            room -= 1;
        } else if is_begun {
            lines.push(String::new());
            room = width.saturating_sub(3);
        }
        // A word that is longer than a line fills as many as it needs.
        while let Some((end, _)) = rest.char_indices().nth(room) {
            push(&mut lines, &rest[..end]);
            lines.push(String::new());
            (rest, room) = (&rest[end..], width.saturating_sub(3));
        }
        push(&mut lines, rest);
        room -= rest.chars().count();
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

fn stage(stage: &PlannedStage) -> Node {
    let mut node = Node::new(format!("{}: {}", stage.name, what(&stage.work)));
    let mut add = |text: String| node.children.push(Node::new(text));
    match &stage.outlook {
        Outlook::Runs => {}
        Outlook::Skipped(why) => add(format!("skipped: {why}")),
        Outlook::Fails(why) => add(format!("fails: {why}")),
        Outlook::Depends { condition, waits_for } => {
            add(format!("if `{condition}`, which waits for {}", waits_for.join(", ")));
        }
    }
    if !stage.needs.is_empty() {
        let needs: Vec<&str> = stage.needs.iter().map(|need| need.as_str()).collect();
        add(format!("after {}", needs.join(", ")));
    }
    match stage.approval.as_deref() {
        None => {}
        Some("") => add("once a person agrees".to_owned()),
        Some(question) => add(format!("once a person agrees: {question}")),
    }
    match &stage.instances {
        Instances::One => {}
        Instances::Known(items) => node.children.push(instances(items)),
        Instances::Open(open) => {
            let open = open.iter().map(reason).collect::<Vec<_>>().join("; ");
            node.children.push(Node::new(format!("instances: {open}")));
        }
    }
    match stage.cache.as_ref().map(|cache| cache.outlook.as_deref()) {
        None => {}
        Some(None) => node.children.push(Node::new("cached".to_owned())),
        Some(Some(outlook)) => node.children.push(Node::new(format!("cached: {outlook}"))),
    }
    if stage.attempts > 1 {
        node.children.push(Node::new(format!("at most {} attempts", stage.attempts)));
    }
    if let Some(timeout) = stage.timeout {
        node.children.push(Node::new(format!("at most {}", duration::written(timeout))));
    }
    match &stage.work {
        PlannedWork::Plugin { rights, grants, with, .. } => {
            let rights: Vec<&str> =
                rights.iter().filter(|right| !right.is_free()).map(|right| right.name()).collect();
            if !rights.is_empty() {
                node.children.push(Node::new(format!("may reach {}", rights.join(", "))));
            }
            let bounds = grants.iter().filter_map(|grant| bounds(grant, grants));
            node.children.extend(bounds.map(Node::new));
            node.children.extend(config(with));
        }
        PlannedWork::Workflow { with, .. } => node.children.extend(config(with)),
        PlannedWork::Gate => {}
    }
    node
}

/// What a grant says beyond the name of its right; nothing when another one gives all of it.
fn bounds(grant: &Grant, all: &[Grant]) -> Option<String> {
    match grant {
        Grant::Whole(_) => None,
        // That is more than the name alone gives.
        Grant::Containers(_) => Some(format!("with {grant}")),
        Grant::Http(_) | Grant::Workspace(_) | Grant::Volumes(_) => {
            let has_whole = all.contains(&Grant::Whole(grant.capability()));
            let may_remove = matches!(grant, Grant::Volumes(scope) if scope.may_remove);
            match has_whole {
                true => may_remove.then(|| format!("with {grant}")),
                false => Some(format!("only within {grant}")),
            }
        }
    }
}

fn what(work: &PlannedWork) -> String {
    match work {
        PlannedWork::Plugin { uses, name, version, digest, .. } => {
            let file = if uses == name { String::new() } else { format!(" from {uses}") };
            format!("{name} {version}{file} (sha256:{})", digest.short())
        }
        PlannedWork::Workflow { uses, version: Some(version), .. } => {
            format!("{uses} (sha256:{})", version.short())
        }
        PlannedWork::Workflow { uses, version: None, .. } => uses.clone(),
        PlannedWork::Gate => "waits for a person".to_owned(),
    }
}

fn instances(items: &[Value]) -> Node {
    let mut children: Vec<Node> =
        items.iter().take(MAX_INSTANCES).map(|item| Node::new(shown(item))).collect();
    if let Some(more @ 1..) = items.len().checked_sub(MAX_INSTANCES) {
        children.push(Node::new(format!("and {more} more")));
    }
    Node { text: count(items.len(), "instance"), children }
}

/// The config, if there is something in it.
fn config(with: &Planned) -> Option<Node> {
    let is_empty = matches!(&with.value, Value::Object(entries) if entries.is_empty());
    (!is_empty).then(|| Node { text: "with".to_owned(), children: values(&with.value, "", &with.open) })
}

/// The lines of what is in a value: a map and a list with something open in it have one for each entry.
fn values(value: &Value, pointer: &str, open: &[Open]) -> Vec<Node> {
    let entry = |name: String, value: &Value, pointer: String| {
        let is_map = matches!(value, Value::Object(entries) if !entries.is_empty());
        let below = format!("{pointer}/");
        let has_open = open.iter().any(|open| open.pointer.starts_with(&below));
        if is_map || (value.is_array() && has_open) {
            return Node { text: name, children: values(value, &pointer, open) };
        }
        let reasons: Vec<String> = open.iter().filter(|open| open.pointer == pointer).map(reason).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        Node::new(format!("{name}: {}{reasons}", shown(value)))
    };
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| entry(name.clone(), value, format!("{pointer}/{}", escaped(name))))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| entry(format!("[{index}]"), value, format!("{pointer}/{index}")))
            .collect(),
        // A config is a map; what is none was refused.
        _ => Vec::new(),
    }
}

fn reason(open: &Open) -> String {
    match &open.why {
        Why::WaitsFor(names) => format!("waits for {}", names.join(", ")),
        Why::Fails(why) => format!("fails: {why}"),
    }
}

/// A value in one line; an unknown one without quotes.
fn shown(value: &Value) -> String {
    if value == super::UNKNOWN {
        return super::UNKNOWN.to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE) {
        None => text,
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
