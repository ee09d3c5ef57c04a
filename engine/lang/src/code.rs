//! The kinds of mistakes, and what each of them means.
//!
//! What is said of a code beyond one line stands in `codes/`, a file for each: title, text, a wrong and a right example.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kind of a mistake. A number is never given to another kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What is said of it, see `explanation`.
            pub(crate) const fn source(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../codes/", stringify!($name), ".md")),)*
                }
            }
        }
    };
}

codes! {
    /// The text is no YAML.
    Syntax = 1,
    /// The text is too large, too deep, or grows too large through its aliases.
    TooLarge = 2,
    /// A value of another kind is needed here: a map, a list, a text.
    WrongKind = 3,
    /// A key that must be there is missing.
    MissingKey = 4,
    /// The language has no such key.
    UnknownKey = 5,
    /// The key belongs to the coming language.
    ComingKey = 6,
    /// A map has a key twice.
    DuplicateKey = 7,
    /// A name is not made of the allowed letters.
    InvalidName = 8,
    /// A duration cannot be read.
    InvalidDuration = 9,
    /// The type of an input is none.
    InvalidInputType = 10,
    /// The default of an input is not of its type.
    WrongDefault = 11,
    /// There is no stage.
    NoStages = 12,
    /// A stage needs one that does not exist.
    UnknownNeed = 13,
    /// Stages need each other in a circle.
    Cycle = 14,
    /// There is no such plugin, or it cannot be used.
    UnknownPlugin = 15,
    /// A plugin imports a right that it was not granted.
    NotGranted = 16,
    /// There is no such right.
    UnknownCapability = 17,
    /// A right is granted that the plugin does not ask for.
    NeedlessGrant = 18,
    /// The text between `${{` and `}}` is no expression, or too large a one.
    ExpressionSyntax = 19,
    /// An expression uses a variable that does not exist.
    UnknownVariable = 20,
    /// An expression uses an input that is not declared.
    UnknownInput = 21,
    /// An expression uses a stage that does not exist.
    UnknownStage = 22,
    /// An expression uses the outputs of a stage that may not have run by then.
    NotNeeded = 23,
    /// An expression uses an output that the plugin does not have.
    UnknownOutput = 24,
    /// A value in `with` is not what the plugin takes.
    WrongConfig = 25,
    /// There are too many stages.
    TooManyStages = 26,
    /// The plugin's own description is broken.
    BrokenPlugin = 27,
    /// There are more mistakes than are shown.
    More = 28,
    /// An expression calls a function that does not exist.
    UnknownFunction = 29,
    /// A cron expression cannot be read, or never comes.
    InvalidSchedule = 30,
    /// There is no such time zone.
    UnknownTimezone = 31,
    /// A trigger leaves an input without a value.
    InputNotGiven = 32,
    /// A trigger gives an input a value that is not of its type.
    WrongInput = 33,
    /// A text is no name of an image.
    InvalidImage = 34,
    /// A number is not in the range that it must be in.
    WrongNumber = 35,
    /// An amount of processors or memory cannot be read, or cannot be had.
    InvalidAmount = 36,
    /// A path cannot be one: of a container, of a request.
    InvalidPath = 37,
    /// A route cannot be one.
    InvalidRoute = 38,
    /// There is no such mode of a volume.
    UnknownMode = 39,
    /// Two parts of a document cannot both be.
    Contradiction = 40,
    /// A part of a document does nothing.
    Idle = 41,
    /// A stage needs one of another part of the run.
    NeedAcross = 42,
    /// Two parts of a run have a stage of the same name.
    DuplicateStage = 43,
    /// A word is none of those that a key takes.
    UnknownWord = 44,
    /// A pattern is no regular expression.
    InvalidPattern = 45,
    /// A stage uses a template that does not exist.
    UnknownTemplate = 46,
    /// A stage runs a workflow that does not exist, or cannot be used.
    UnknownWorkflow = 47,
    /// A plugin or template does not have the version that is asked for.
    WrongVersion = 48,
    /// An expression uses an environment variable that does not exist.
    UnknownEnvironment = 49,
    /// A variable exists, and not in this place.
    NotHere = 50,
    /// A text is no address.
    InvalidUrl = 51,
    /// An input, a parameter or a template is declared and not used.
    Unused = 52,
    /// A secret is where others can read it.
    Leak = 53,
    /// A name stands for something else tomorrow: `latest`.
    MovingName = 54,
    /// Text from outside becomes part of a command.
    Injection = 55,
    /// An expression gives a value of the wrong type.
    WrongType = 56,
    /// A right is granted that the engine allows to nobody, or not to this plugin.
    NotAllowed = 58,
    /// A test names what its workflow does not have.
    NotInWorkflow = 59,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("WF{:03}", *self as u16))
    }
}
