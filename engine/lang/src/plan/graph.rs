//! A plan as a graph, for Graphviz and for Mermaid.

use std::collections::HashMap;
use std::fmt::Write as _;

use yuanli_model::Section;

use super::{Instances, Outlook, Plan, PlannedStage, PlannedWork};

impl Plan {
    /// The plan as a graph in the language of Graphviz: `dot -Tsvg` draws it.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = format!(
            "digraph {} {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n",
            quoted(self.workflow.as_str())
        );
        for (part, stages) in self.parts() {
            let is_apart = part != Section::Main;
            if is_apart {
                let _ = writeln!(text, "  subgraph cluster_{0} {{\n    label=\"{0}\";", part.name());
            }
            for stage in stages {
                let label = quoted(&label(stage, "\n"));
                let style = match stage.outlook {
                    Outlook::Runs => "",
                    Outlook::Depends { .. } => ", style=\"rounded,dashed\"",
                    Outlook::Skipped(_) => ", style=\"rounded,dotted\", fontcolor=gray, color=gray",
                    Outlook::Fails(_) => ", color=red",
                };
                let inset = if is_apart { "    " } else { "  " };
                let _ = writeln!(text, "{inset}{} [label={label}{style}];", quoted(stage.name.as_str()));
            }
            if is_apart {
                text.push_str("  }\n");
            }
        }
        for stage in self.stages() {
            for need in &stage.needs {
                let _ = writeln!(text, "  {} -> {};", quoted(need.as_str()), quoted(stage.name.as_str()));
            }
        }
        text.push_str("}\n");
        text
    }

    /// The plan as a flow chart of Mermaid, which code hosts draw in Markdown.
    #[must_use]
    pub fn mermaid(&self) -> String {
        // Names of stages may be words of Mermaid's, such as `end`: the nodes are numbered.
        let numbers: HashMap<&str, usize> =
            self.stages().enumerate().map(|(number, stage)| (stage.name.as_str(), number)).collect();
        let number = |name: &str| numbers.get(name).copied().unwrap_or_default();
        let mut text = "flowchart LR\n".to_owned();
        for (part, stages) in self.parts() {
            let is_apart = part != Section::Main;
            if is_apart {
                let _ = writeln!(text, "  subgraph {}", part.name());
            }
            for stage in stages {
                let class = match stage.outlook {
                    Outlook::Runs => "",
                    Outlook::Depends { .. } => ":::depends",
                    Outlook::Skipped(_) => ":::skipped",
                    Outlook::Fails(_) => ":::fails",
                };
                let label = as_entities(&label(stage, "\n")).replace('\n', "<br/>");
                let _ = writeln!(text, "  s{}[\"{label}\"]{class}", number(stage.name.as_str()));
            }
            if is_apart {
                text.push_str("  end\n");
            }
        }
        for stage in self.stages() {
            for need in &stage.needs {
                let _ = writeln!(text, "  s{} --> s{}", number(need.as_str()), number(stage.name.as_str()));
            }
        }
        for (class, style) in [
            ("depends", "stroke-dasharray: 5 5"),
            ("skipped", "stroke-dasharray: 2 4,color:#888,stroke:#888"),
            ("fails", "stroke:#c00"),
        ] {
            if text.contains(&format!(":::{class}\n")) {
                let _ = writeln!(text, "  classDef {class} {style}");
            }
        }
        text
    }

    /// The stages of each part that has some.
    fn parts(&self) -> Vec<(Section, Vec<&PlannedStage>)> {
        let mut parts: Vec<(Section, Vec<&PlannedStage>)> = Vec::new();
        for step in &self.steps {
            match parts.last_mut() {
                Some((part, stages)) if *part == step.section => stages.extend(&step.stages),
                _ => parts.push((step.section, step.stages.iter().collect())),
            }
        }
        parts
    }
}

/// Name, plugin, and how often.
fn label(stage: &PlannedStage, line_end: &str) -> String {
    let work = match &stage.work {
        PlannedWork::Plugin { name, version, .. } => format!("{name} {version}"),
        PlannedWork::Workflow { uses, .. } => uses.clone(),
        PlannedWork::Gate => "approval".to_owned(),
    };
    let often = match &stage.instances {
        Instances::One => String::new(),
        Instances::Known(items) => format!(" × {}", items.len()),
        Instances::Open(_) => " × …".to_owned(),
    };
    format!("{}{line_end}{work}{often}", stage.name)
}

/// A text as Graphviz quotes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A text as Mermaid takes it between quotes.
fn as_entities(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric()
            || matches!(c, ' ' | '\n' | '-' | '_' | '.' | '/' | ':' | '×' | '…' | '@' | '+')
        {
            plain.push(c);
        } else {
            let _ = write!(plain, "#{};", u32::from(c));
        }
    }
    plain
}
