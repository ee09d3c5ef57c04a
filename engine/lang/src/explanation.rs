//! What each code means, with a document that has the mistake and one that does not.

use crate::diagnostic::Code;

/// A code in full, for `yuanli explain` and for code hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why it is a mistake, and how to mend it; in one paragraph.
    pub text: &'static str,
    /// A document that has the mistake; empty where none is short enough to be shown.
    pub wrong: &'static str,
    /// The same document without it; empty together with `wrong`.
    pub right: &'static str,
}

impl Code {
    /// What the code means.
    #[must_use]
    pub fn explanation(self) -> Explanation {
        let (title, text, wrong, right) = words(self);
        Explanation { title, text, wrong, right }
    }
}

type Words = (&'static str, &'static str, &'static str, &'static str);

#[allow(clippy::too_many_lines, reason = "a table, one row a code")]
fn words(code: Code) -> Words {
    match code {
        Code::Syntax => (
            "The text is no YAML",
            "YAML gives the text its shape before anything in it is looked at, so it stops at the first place that has \
             none. Most of the time it is a missing quote or bracket, a tab where blanks are needed, or a line that is \
             not as far in as the one it belongs to. A text that begins with a character such as `{`, `[`, `*`, `&`, `@` \
             or has `: ` in it needs quotes.",
            "name: shop\nstages:\n  hello: { uses: script\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::TooLarge => (
            "The text is too large or too deep",
            "A document has at most 1 MiB, 100 levels of nesting, and may not grow by its aliases to more than a fair \
             multiple of its size. Keep data in files of its own, and split what does many things into several workflows.",
            "",
            "",
        ),
        Code::WrongKind => (
            "A value of another kind is needed here",
            "Each key takes a text, a number, a boolean, a list or a map, and this one has another of these. Numbers and \
             booleans become texts in quotes. The words `yes`, `no`, `on` and `off` are texts: booleans are `true` and \
             `false` only.",
            "name: shop\ndescription: 7\nstages:\n  hello: { uses: script }\n",
            "name: shop\ndescription: \"7\"\nstages:\n  hello: { uses: script }\n",
        ),
        Code::MissingKey => (
            "A key that must be there is missing",
            "Without it nobody can know what was meant, and there is no value that would be right for most.",
            "stages:\n  hello: { uses: script }\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::UnknownKey => (
            "The language has no such key",
            "A key that is not known is most of the time a slip, and would be without effect. The message names the key \
             that is nearest. `yuanli schema workflow` makes an editor offer all keys there are.",
            "name: shop\nstages:\n  hello: { use: script, uses: script }\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::ComingKey => (
            "The key is not known to this version",
            "The key is a part of the language that this version of Yuanli does not have yet. It is refused, as a \
             document that is obeyed in part does something else than its author thinks.",
            "",
            "",
        ),
        Code::DuplicateKey => (
            "A map has a key twice",
            "Which of the two would count is not said anywhere, so neither does. Remove one, or give one another name.",
            "name: shop\nstages:\n  hello: { uses: script }\n  hello: { uses: script }\n",
            "name: shop\nstages:\n  hello: { uses: script }\n  again: { uses: script }\n",
        ),
        Code::InvalidName => (
            "A name is not made of the allowed letters",
            "Names of workflows, stages, apps and inputs stand in paths, labels and expressions. They are of lower-case \
             letters, digits and dashes (inputs also of `_`), begin with a letter or digit, and are short.",
            "name: My Shop\nstages:\n  hello: { uses: script }\n",
            "name: my-shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::InvalidDuration => (
            "A duration cannot be read",
            "A duration is a whole number with a unit: `500ms`, `90s`, `10m`, `2h`, `1d`, or several of them from large \
             to small, such as `1h30m`. A number alone could be seconds or minutes, so it is refused.",
            "name: shop\nstages:\n  hello: { uses: script, timeout: 10 }\n",
            "name: shop\nstages:\n  hello: { uses: script, timeout: 10m }\n",
        ),
        Code::InvalidInputType => (
            "The type of an input is none",
            "The type says which values an input takes, and how a text from the command line is read.",
            "name: shop\ninputs:\n  tag: { type: text }\nstages:\n  hello: { uses: script }\n",
            "name: shop\ninputs:\n  tag: { type: string }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::WrongDefault => (
            "The default of an input is not of its type",
            "The default is used when nothing is given, so it must be a value that could be given.",
            "name: shop\ninputs:\n  count: { type: number, default: \"3\" }\nstages:\n  hello: { uses: script }\n",
            "name: shop\ninputs:\n  count: { type: number, default: 3 }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::NoStages => (
            "There is no stage",
            "A workflow without a stage would do nothing, and succeed at it.",
            "name: shop\nstages: {}\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::UnknownNeed => (
            "A stage needs one that does not exist",
            "`needs` has the names of stages of the same workflow that have to end before this one starts.",
            "name: shop\nstages:\n  image: { uses: script }\n  tests: { uses: script, needs: imgae }\n",
            "name: shop\nstages:\n  image: { uses: script }\n  tests: { uses: script, needs: image }\n",
        ),
        Code::Cycle => (
            "Stages need each other in a circle",
            "Each would wait for the other for ever. The message goes round the circle; remove one of the needs. When \
             two stages pass values both ways, split one of them in two.",
            "name: shop\nstages:\n  a: { uses: script, needs: b }\n  b: { uses: script, needs: a }\n",
            "name: shop\nstages:\n  a: { uses: script }\n  b: { uses: script, needs: a }\n",
        ),
        Code::UnknownPlugin => (
            "There is no such plugin, or it cannot be used",
            "`uses` has the name of a plugin that the engine has (`yuanli plugin list`), or the path of a component file \
             beside the workflow, which begins with `./`.",
            "name: shop\nstages:\n  hello: { uses: scirpt }\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::NotGranted => (
            "A plugin imports a right that it was not granted",
            "What a component imports is what it can reach. Plugins that come with the engine have what they import; \
             any other is granted it by the stage that uses it, and nothing else. Grant what you trust it with.",
            "name: shop\nstages:\n  deploy: { uses: ./deploy.wasm }\n",
            "name: shop\nstages:\n  deploy: { uses: ./deploy.wasm, grants: [images, containers] }\n",
        ),
        Code::UnknownCapability => (
            "There is no such right",
            "`grants` has the names of rights, the ones that `yuanli plugin list` shows.",
            "name: shop\nstages:\n  deploy: { uses: ./deploy.wasm, grants: [image, containers, images] }\n",
            "name: shop\nstages:\n  deploy: { uses: ./deploy.wasm, grants: [images, containers] }\n",
        ),
        Code::NeedlessGrant => (
            "A right is granted that the plugin does not ask for",
            "It has no effect now. A later version of the plugin would have it without being asked for, so remove it.",
            "name: shop\nstages:\n  hello: { uses: script, grants: [containers] }\n",
            "name: shop\nstages:\n  hello: { uses: script }\n",
        ),
        Code::ExpressionSyntax => (
            "What stands between `${{` and `}}` is no expression",
            "Expressions are CEL: `inputs.tag`, `inputs.count > 3`, `'a' + inputs.tag`, `inputs.fast ? 1 : 2`. Texts \
             stand in quotes. To have `${{` in a text write `$${{`. Very large expressions are refused too: compute such \
             a thing in a stage.",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ inputs.tag + }}\"] } }\n",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ inputs.tag }}\"] } }\n",
        ),
        Code::UnknownVariable => (
            "An expression uses a variable that does not exist",
            "There are `inputs`, `stages` (the outputs of stages that come before) and `run`; in the inputs of a webhook \
             there is `trigger` instead. A text stands in quotes.",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ input.tag }}\"] } }\n",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ inputs.tag }}\"] } }\n",
        ),
        Code::UnknownInput => (
            "An expression uses an input that is not declared",
            "What a run can be given is declared under `inputs`, with a type or a default.",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ inputs.tga }}\"] } }\n",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ inputs.tag }}\"] } }\n",
        ),
        Code::UnknownStage => (
            "An expression uses a stage that does not exist",
            "`stages.NAME.outputs` are the outputs of a stage of the same workflow. A name with a dash is written \
             `stages[\"my-stage\"]`, as a dash alone is a minus.",
            "name: shop\nstages:\n  a: { uses: script }\n  b: { uses: script, needs: a, with: { print: [\"${{ stages.c.outputs.x }}\"] } }\n",
            "name: shop\nstages:\n  a: { uses: script }\n  b: { uses: script, needs: a, with: { print: [\"${{ stages.a.outputs.x }}\"] } }\n",
        ),
        Code::NotNeeded => (
            "An expression uses a stage that may not have run by then",
            "Stages run at the same time unless one needs the other, directly or through others. Whoever uses the \
             outputs of a stage has to need it.",
            "name: shop\nstages:\n  a: { uses: script }\n  b: { uses: script, with: { print: [\"${{ stages.a.outputs.x }}\"] } }\n",
            "name: shop\nstages:\n  a: { uses: script }\n  b: { uses: script, needs: a, with: { print: [\"${{ stages.a.outputs.x }}\"] } }\n",
        ),
        Code::UnknownOutput => (
            "An expression uses an output that the plugin does not have",
            "A plugin describes what it gives; `yuanli plugin list --json` shows it.",
            "name: shop\nstages:\n  a: { uses: build, with: { context: ., image: x } }\n  b: { uses: script, needs: a, with: { print: [\"${{ stages.a.outputs.imgae }}\"] } }\n",
            "name: shop\nstages:\n  a: { uses: build, with: { context: ., image: x } }\n  b: { uses: script, needs: a, with: { print: [\"${{ stages.a.outputs.image }}\"] } }\n",
        ),
        Code::WrongConfig => (
            "A value in `with` is not what the plugin takes",
            "A plugin describes its config by a JSON Schema, which `with` is checked against before anything runs.",
            "name: shop\nstages:\n  a: { uses: build, with: { context: ., imgae: x } }\n",
            "name: shop\nstages:\n  a: { uses: build, with: { context: ., image: x } }\n",
        ),
        Code::TooManyStages => (
            "There are too many stages",
            "A workflow has at most 10,000 stages. Split it into several workflows.",
            "",
            "",
        ),
        Code::BrokenPlugin => (
            "The plugin's own description is broken",
            "The schema that the plugin gives for its config is none, so `with` cannot be checked before the run. The \
             plugin's author has to mend it.",
            "name: shop\nstages:\n  a: { uses: ./broken.wasm }\n",
            "name: shop\nstages:\n  a: { uses: script }\n",
        ),
        Code::More => (
            "There are more mistakes than are shown",
            "A file with very many mistakes has one of them many times. Mend those that are shown first.",
            "",
            "",
        ),
        Code::UnknownFunction => (
            "An expression calls a function that does not exist",
            "Expressions have the functions of CEL: `size(x)`, `x.contains(y)`, `string(x)`, `x.map(i, …)` and so on.",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ sise(inputs.tag) }}\"] } }\n",
            "name: shop\ninputs: { tag: dev }\nstages:\n  hello: { uses: script, with: { print: [\"${{ size(inputs.tag) }}\"] } }\n",
        ),
        Code::InvalidSchedule => (
            "A cron expression cannot be read, or never comes",
            "It has five fields: minute, hour, day of the month, month, day of the week. Each is `*`, a number, a range, \
             a list, or one of these with `/` and a step. A day that no month has never comes.",
            "name: shop\non: { schedule: { cron: \"0 25 * * *\" } }\nstages:\n  hello: { uses: script }\n",
            "name: shop\non: { schedule: { cron: \"0 23 * * *\" } }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::UnknownTimezone => (
            "There is no such time zone",
            "Time zones have the names of the tz database, such as `Europe/Berlin` or `Asia/Shanghai`.",
            "name: shop\non: { schedule: { cron: \"0 3 * * *\", timezone: Asia/Beijing } }\nstages:\n  hello: { uses: script }\n",
            "name: shop\non: { schedule: { cron: \"0 3 * * *\", timezone: Asia/Shanghai } }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::InputNotGiven => (
            "A trigger leaves an input without a value",
            "Nobody is there to be asked when a trigger fires, so each input has a default, or the trigger gives it.",
            "name: shop\non: { schedule: { cron: \"0 3 * * *\" } }\ninputs: { tag: { type: string } }\nstages:\n  hello: { uses: script }\n",
            "name: shop\non: { schedule: { cron: \"0 3 * * *\" } }\ninputs: { tag: { type: string, default: dev } }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::WrongInput => (
            "A trigger gives an input a value that is not of its type",
            "The run would be refused each time the trigger fires.",
            "name: shop\non: { webhook: { secret: key, inputs: { count: many } } }\ninputs: { count: 1 }\nstages:\n  hello: { uses: script }\n",
            "name: shop\non: { webhook: { secret: key, inputs: { count: 3 } } }\ninputs: { count: 1 }\nstages:\n  hello: { uses: script }\n",
        ),
        Code::InvalidImage => (
            "A text is no name of an image",
            "The name of an image is of letters, digits and `._-/:@`: `shop:dev`, `registry:5000/team/shop:1`.",
            "app: shop\nimage: \"shop dev\"\nport: 80\n",
            "app: shop\nimage: shop:dev\nport: 80\n",
        ),
        Code::WrongNumber => (
            "A number is not in the range that it must be in",
            "The message says which numbers there can be.",
            "app: shop\nimage: shop:dev\nport: 80000\n",
            "app: shop\nimage: shop:dev\nport: 8000\n",
        ),
        Code::InvalidAmount => (
            "An amount of processors or memory cannot be read, or cannot be had",
            "Processors are thousandths, `500m`, or a number, `1.5`. Memory has a unit: `64MiB`, `2GiB`, `500MB`.",
            "app: shop\nimage: shop:dev\nport: 80\nmemory: 64M\n",
            "app: shop\nimage: shop:dev\nport: 80\nmemory: 64MiB\n",
        ),
        Code::InvalidPath => (
            "A path cannot be one",
            "A path in a container is absolute and has no `.` or `..` in it; a path of a request begins with `/`.",
            "app: shop\nimage: shop:dev\nport: 80\nhealth: { http: healthz }\n",
            "app: shop\nimage: shop:dev\nport: 80\nhealth: { http: /healthz }\n",
        ),
        Code::InvalidRoute => (
            "A route cannot be one",
            "A route is a host, a path, or both: `shop.example`, `/cart`, `shop.example/cart`. It has neither scheme nor \
             port: the gateway decides on which of them it listens.",
            "app: shop\nimage: shop:dev\nport: 80\nroute: http://shop.example/\n",
            "app: shop\nimage: shop:dev\nport: 80\nroute: shop.example/\n",
        ),
        Code::UnknownMode => (
            "There is no such mode of a volume",
            "`exclusive`: one replica at a time, the old one stops before the new one starts. `shared`: any number at \
             once. `read-only`: any number, and none writes.",
            "app: shop\nimage: shop:dev\nport: 80\nvolumes: { data: { path: /data, mode: readonly } }\n",
            "app: shop\nimage: shop:dev\nport: 80\nvolumes: { data: { path: /data, mode: read-only } }\n",
        ),
        Code::Contradiction => (
            "Two parts of a document cannot both be",
            "Each would be right without the other. The message says which, and most of the time which one to change.",
            "app: shop\nimage: shop:dev\nport: 80\nhealth: { http: /, tcp: true }\n",
            "app: shop\nimage: shop:dev\nport: 80\nhealth: { http: / }\n",
        ),
        Code::Idle => (
            "A part of a document does nothing",
            "Remove it, or give it what it needs to act.",
            "app: shop\nimage: shop:dev\nport: 80\nscaling: { maximum: 3 }\n",
            "app: shop\nimage: shop:dev\nport: 80\nscaling: { maximum: 3, metric: { in-flight: 10 } }\n",
        ),
    }
}
