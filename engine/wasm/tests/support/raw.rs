//! Components that are made by hand: a core module in the text format and the contract in `wit/`, nothing else.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the module keeps its description, and from where on it hands out memory.
const DESCRIPTION: usize = 1024;
const FREE: usize = 64 * 1024;

/// A stage that is made by hand.
pub(crate) struct Raw {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) config_schema: &'static str,
    /// The details of its description.
    pub(crate) details: &'static [(&'static str, &'static str)],
    /// The interfaces that its world imports, such as `yuanli:log/log@0.1.0`.
    pub(crate) imports: &'static [&'static str],
    /// Packages that these are of and that are not in `wit/`.
    pub(crate) packages: &'static [&'static str],
    /// Imports of the module.
    pub(crate) declarations: &'static str,
    /// What it does before `describe` answers.
    pub(crate) describe: &'static str,
    /// The body of `run (param $config i32) (param $length i32) (result i32)`, which gives the address of its result.
    pub(crate) run: &'static str,
    /// What the module calls it, by which tools know how it is lifted.
    pub(crate) run_as: &'static str,
    /// More of the module.
    pub(crate) more: &'static str,
}

impl Default for Raw {
    /// One that gives `{}`.
    fn default() -> Self {
        Self {
            name: "raw",
            version: "1.0.0",
            config_schema: r#"{"type":"object"}"#,
            details: &[],
            imports: &[],
            packages: &[],
            declarations: "",
            describe: "",
            run: GIVE,
            run_as: "run",
            more: "",
        }
    }
}

/// The result `ok("{}")`: its discriminant at 512, the text's address and length behind it.
pub(crate) const GIVE: &str = "
    (i32.store (i32.const 512) (i32.const 0))
    (i32.store (i32.const 520) (i32.const 768))
    (i32.store (i32.const 524) (i32.const 2))
    (i32.const 512)";

impl Raw {
    /// The module, without knowing of components.
    pub(crate) fn module(&self) -> Vec<u8> {
        let schema = r#"{"type":"object"}"#;
        let texts = [self.name, self.version, "Made by hand", self.config_schema, schema];
        // Name, version, summary, two schemas, then three lists, of which the last has something: an address and a length
        // each. Behind them the entries of that list, and then the texts.
        let mut record = Vec::new();
        let details: Vec<&str> = self.details.iter().flat_map(|(key, value)| [*key, *value]).collect();
        let mut at = DESCRIPTION + 64 + details.len() * 8;
        let mut place = |text: &str| {
            let place = [(at as u32).to_le_bytes(), (text.len() as u32).to_le_bytes()].concat();
            at += text.len();
            place
        };
        texts.iter().for_each(|text| record.extend(place(text)));
        record.resize(56, 0);
        record.extend([(DESCRIPTION + 64) as u32, self.details.len() as u32].map(u32::to_le_bytes).concat());
        details.iter().for_each(|text| record.extend(place(text)));
        record.extend(texts.concat().bytes());
        record.extend(details.concat().bytes());
        let record: String = record.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let Self { declarations, describe, run, run_as, more, .. } = self;
        let text = format!(
            r#"(module
                {declarations}
                (memory (export "memory") 4)
                (global $free (mut i32) (i32.const {FREE}))
                (data (i32.const 768) "{{}}")
                (data (i32.const {DESCRIPTION}) "{record}")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $free)
                    (global.set $free (i32.add (global.get $free)
                        (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
                (func (export "describe") (result i32) {describe} (i32.const {DESCRIPTION}))
                (func (export "{run_as}") (param $config i32) (param $length i32) (result i32) {run})
                {more}
            )"#
        );
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        self.of_world("include yuanli:stage/stage@0.1.0;")
    }

    /// A component of another world, given by what it exports.
    pub(crate) fn of_world(&self, exports: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut folders: Vec<_> =
            std::fs::read_dir(wit).unwrap().map(|entry| entry.unwrap().path()).collect();
        // Others use its handles.
        folders.sort_by_key(|folder| (!folder.ends_with("secrets"), folder.clone()));
        for folder in folders {
            resolve.push_dir(folder).unwrap();
        }
        for package in self.packages {
            resolve.push_str("other.wit", package).unwrap();
        }
        let imports: String = self.imports.iter().map(|import| format!("import {import};\n")).collect();
        let world = format!("package test:raw;\nworld raw {{ {imports} {exports} }}");
        let package = resolve.push_str("raw.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("raw")).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }
}
