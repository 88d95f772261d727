// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reads litmus tests.

use std::fmt;

use crate::{Action, Condition, Outcome, Place, Program, Step, Test};

/// As many programs as loom has threads for, besides the one that starts them.
const MAX_PROGRAMS: usize = loom::MAX_THREADS - 1;

/// Why a litmus test cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A comment without end.
    #[error("line {0}: the comment does not end")]
    Comment(usize),
    /// No comment says `Result:`.
    #[error("no comment says what the result is")]
    NoResult,
    /// The result is said to be neither `Never` nor `Sometimes`.
    #[error("line {0}: the result {1:?} is not known")]
    Result(usize, String),
    /// A character that has no place in a test.
    #[error("line {0}: the character {1:?} is not known")]
    Character(usize, char),
    /// A number that is not an `int`.
    #[error("line {0}: {1} is no number")]
    Number(usize, String),
    /// Something else should be here.
    #[error("line {line}: {found} where {wanted} should be")]
    Unexpected {
        /// Where.
        line: usize,
        /// What is here.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A function whose meaning is not known, or that is used in another way than it is here.
    #[error("line {0}: the function {1} is not known")]
    Function(usize, String),
    /// A variable that is not a parameter of the program, or in the clause: of no program.
    #[error("line {0}: the variable {1} is not known")]
    Variable(usize, String),
    /// A register that the program does not declare.
    #[error("line {0}: the register {1} is not known")]
    Register(usize, String),
    /// The programs are not P0, P1 and so on.
    #[error("line {0}: the program {1} is not the next one")]
    Program(usize, String),
    /// More programs than loom has threads for.
    #[error("more than {MAX_PROGRAMS} programs")]
    Programs,
}

/// A word, a number, or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Number(&'a str),
    Sign(&'a str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Number(text) | Token::Sign(text) => write!(f, "{text:?}"),
            Token::End => f.write_str("the end"),
        }
    }
}

const SIGNS: [&str; 12] = [
    "/\\", "\\/", "{", "}", "(", ")", ";", ",", "=", "*", ":", "~",
];

/// The test's name: all of the first line but the `C`.
fn split_name(text: &str) -> Result<(&str, &str), Error> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match first.strip_prefix("C ").map(str::trim) {
        Some(name) if !name.is_empty() => Ok((name, rest)),
        _ => Err(Error::Unexpected {
            line: 1,
            found: format!("{first:?}"),
            wanted: "\"C\" and a name".into(),
        }),
    }
}

/// The tokens of `text`, which begins in line 2, with their lines, and the result of which a
/// comment speaks.
fn split(mut text: &str) -> Result<(Vec<(usize, Token<'_>)>, Outcome), Error> {
    let (mut tokens, mut result) = (Vec::new(), None);
    let (mut line, mut braces) = (2, 0);
    while let Some(c) = text.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = if braces == 0 && text.starts_with("(*") {
            let len = text.find("*)").ok_or(Error::Comment(line))? + 2;
            for (i, words) in text[..len].lines().enumerate() {
                if let Some((_, said)) = words.split_once("Result:") {
                    result = Some(match said.trim_end_matches("*)").trim() {
                        "Never" => Outcome::Never,
                        "Sometimes" => Outcome::Sometimes,
                        other => return Err(Error::Result(line + i, other.into())),
                    });
                }
            }
            len
        } else if c.is_whitespace() {
            c.len_utf8()
        } else if is_word(c) {
            let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
            tokens.push((
                line,
                match c.is_ascii_digit() {
                    true => Token::Number(&text[..len]),
                    false => Token::Word(&text[..len]),
                },
            ));
            len
        } else {
            let sign = SIGNS.into_iter().find(|sign| text.starts_with(sign));
            let sign = sign.ok_or(Error::Character(line, c))?;
            // Between braces is C, where "(*" is no comment.
            match sign {
                "{" => braces += 1,
                "}" => braces -= 1,
                _ => (),
            }
            tokens.push((line, Token::Sign(sign)));
            sign.len()
        };
        line += text[..len].matches('\n').count();
        text = &text[len..];
    }
    tokens.push((line, Token::End));
    Ok((tokens, result.ok_or(Error::NoResult)?))
}

/// What is read, and what it is made into.
struct Parser<'a> {
    tokens: Vec<(usize, Token<'a>)>,
    at: usize,
    variables: Vec<(String, i32)>,
    programs: Vec<Program>,
}

impl Test {
    /// Reads a litmus test.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or not known here.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, rest) = split_name(text)?;
        let (tokens, result) = split(rest)?;
        let mut parser = Parser {
            tokens,
            at: 0,
            variables: Vec::new(),
            programs: Vec::new(),
        };
        parser.initial_values()?;
        parser.program()?;
        while !parser.take(Token::Word("exists")) {
            parser.program()?;
        }
        let exists = parser.any()?;
        parser.expect(Token::End)?;
        Ok(Self {
            name: name.into(),
            result,
            variables: parser.variables,
            programs: parser.programs,
            exists,
        })
    }
}

impl<'a> Parser<'a> {
    fn line(&self) -> usize {
        self.tokens[self.at].0
    }

    fn peek(&self) -> Token<'a> {
        self.tokens[self.at].1
    }

    /// The end stays.
    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let taken = self.peek() == token;
        if taken {
            self.next();
        }
        taken
    }

    fn unexpected<T>(&self, wanted: impl fmt::Display) -> Result<T, Error> {
        Err(Error::Unexpected {
            line: self.line(),
            found: self.peek().to_string(),
            wanted: wanted.to_string(),
        })
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), Error> {
        match self.take(token) {
            true => Ok(()),
            false => self.unexpected(token),
        }
    }

    fn sign(&mut self, sign: &str) -> Result<(), Error> {
        self.expect(Token::Sign(sign))
    }

    fn word(&mut self) -> Result<&'a str, Error> {
        let Token::Word(word) = self.peek() else {
            return self.unexpected("a name");
        };
        self.next();
        Ok(word)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Error> {
        let Token::Number(text) = self.peek() else {
            return self.unexpected("a number");
        };
        let value = text.parse();
        let value = value.map_err(|_| Error::Number(self.line(), text.into()))?;
        self.next();
        Ok(value)
    }

    fn initial_values(&mut self) -> Result<(), Error> {
        self.sign("{")?;
        while !self.take(Token::Sign("}")) {
            let name = self.word()?;
            self.sign("=")?;
            let value = self.number()?;
            self.sign(";")?;
            self.variables.push((name.into(), value));
        }
        Ok(())
    }

    fn program(&mut self) -> Result<(), Error> {
        let (line, name) = (self.line(), self.word()?);
        if name != format!("P{}", self.programs.len()) {
            return Err(Error::Program(line, name.into()));
        }
        if self.programs.len() == MAX_PROGRAMS {
            return Err(Error::Programs);
        }
        self.programs.push(Program::default());

        self.sign("(")?;
        let mut parameters = Vec::new();
        loop {
            self.expect(Token::Word("int"))?;
            self.sign("*")?;
            let name = self.word()?;
            parameters.push(name);
            if self.variable(name).is_none() {
                // What is not mentioned begins with 0.
                self.variables.push((name.into(), 0));
            }
            if !self.take(Token::Sign(",")) {
                break;
            }
        }
        self.sign(")")?;

        self.sign("{")?;
        while !self.take(Token::Sign("}")) {
            self.statement(&parameters)?;
            self.sign(";")?;
        }
        Ok(())
    }

    /// The program that is being read.
    fn current(&mut self) -> &mut Program {
        self.programs.last_mut().expect("there is one")
    }

    fn variable(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|(other, _)| other == name)
    }

    fn statement(&mut self, parameters: &[&str]) -> Result<(), Error> {
        let line = self.line();
        if self.take(Token::Word("int")) {
            let name = self.word()?;
            self.current().registers.push(name.into());
            return Ok(());
        }

        let mut function = self.word()?;
        let mut register = None;
        if self.take(Token::Sign("=")) {
            let mut registers = self.current().registers.iter();
            let index = registers.position(|other| other == function);
            register = Some(index.ok_or_else(|| Error::Register(line, function.into()))?);
            function = self.word()?;
        }
        self.sign("(")?;
        let action = match (function, register) {
            ("READ_ONCE", Some(register)) => {
                self.sign("*")?;
                Action::Load {
                    register,
                    variable: self.argument(parameters)?,
                    acquire: false,
                }
            }
            ("smp_load_acquire", Some(register)) => Action::Load {
                register,
                variable: self.argument(parameters)?,
                acquire: true,
            },
            ("WRITE_ONCE", None) => {
                self.sign("*")?;
                Action::Store {
                    variable: self.argument(parameters)?,
                    value: self.value()?,
                    release: false,
                }
            }
            ("smp_store_release", None) => Action::Store {
                variable: self.argument(parameters)?,
                value: self.value()?,
                release: true,
            },
            ("xchg", Some(register)) => Action::Swap {
                register,
                variable: self.argument(parameters)?,
                value: self.value()?,
                full: true,
            },
            ("smp_mb", None) => Action::FullBarrier,
            _ => return Err(Error::Function(line, function.into())),
        };
        self.sign(")")?;
        self.current().steps.push(Step { line, action });
        Ok(())
    }

    /// A variable, which the program has to have as a parameter.
    fn argument(&mut self, parameters: &[&str]) -> Result<usize, Error> {
        let (line, name) = (self.line(), self.word()?);
        parameters
            .contains(&name)
            .then(|| self.variable(name))
            .flatten()
            .ok_or_else(|| Error::Variable(line, name.into()))
    }

    fn value(&mut self) -> Result<i32, Error> {
        self.sign(",")?;
        self.number()
    }

    fn any(&mut self) -> Result<Condition, Error> {
        let mut conditions = vec![self.all()?];
        while self.take(Token::Sign("\\/")) {
            conditions.push(self.all()?);
        }
        Ok(Condition::Any(conditions))
    }

    fn all(&mut self) -> Result<Condition, Error> {
        let mut conditions = vec![self.one()?];
        while self.take(Token::Sign("/\\")) {
            conditions.push(self.one()?);
        }
        Ok(Condition::All(conditions))
    }

    fn one(&mut self) -> Result<Condition, Error> {
        if self.take(Token::Sign("~")) {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.take(Token::Sign("(")) {
            let condition = self.any()?;
            self.sign(")")?;
            return Ok(condition);
        }
        let line = self.line();
        let place = match self.peek() {
            Token::Number(_) => {
                let program: usize = self.number()?;
                self.sign(":")?;
                let register = self.word()?.to_string();
                let known = self.programs.get(program);
                if !known.is_some_and(|known| known.registers.contains(&register)) {
                    return Err(Error::Register(line, format!("{program}:{register}")));
                }
                Place::Register(program, register)
            }
            _ => {
                let name = self.word()?;
                if self.variable(name).is_none() {
                    return Err(Error::Variable(line, name.into()));
                }
                Place::Variable(name.into())
            }
        };
        self.sign("=")?;
        Ok(Condition::Is(place, self.number()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test whose only program does `body`.
    fn parse(body: &str, exists: &str) -> Result<Test, Error> {
        let text = format!(
            "C one\n(* Result: Never *)\n{{ x=1; }}\nP0(int *x)\n{{\nint r0;\n{body}\n}}\n\
             exists {exists}\n"
        );
        Test::parse(&text)
    }

    #[test]
    fn clauses_bind_as_in_herd() {
        let holds = |clause: &str| {
            let test = parse("r0 = READ_ONCE(*x);", clause).unwrap();
            assert_eq!(test.name, "one");
            test.run() == Outcome::Sometimes
        };
        assert!(holds("(0:r0=1)"));
        assert!(holds("x=1"));
        assert!(!holds("(0:r0=0)"));
        assert!(holds("(0:r0=1 \\/ x=1 /\\ x=0)"));
        assert!(!holds("((0:r0=1 \\/ x=1) /\\ x=0)"));
        assert!(holds("(~x=0 /\\ ~(x=1 /\\ 0:r0=0))"));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let error = |body: &str, exists: &str| parse(body, exists).unwrap_err();
        let unknown = |name: &str| Error::Function(7, name.into());
        assert_eq!(error("smp_wmb();", "x=1"), unknown("smp_wmb"));
        assert_eq!(error("xchg(x, 1);", "x=1"), unknown("xchg"));
        assert_eq!(
            error("WRITE_ONCE(*y, 1);", "x=1"),
            Error::Variable(7, "y".into())
        );
        assert_eq!(
            error("r1 = READ_ONCE(*x);", "x=1"),
            Error::Register(7, "r1".into())
        );
        assert_eq!(error("", "0:r1=1"), Error::Register(9, "0:r1".into()));
        assert_eq!(error("", "1:r0=1"), Error::Register(9, "1:r0".into()));
        assert_eq!(error("", "y=1"), Error::Variable(9, "y".into()));
        assert_eq!(error("r0 = x + 1;", "x=1"), Error::Character(7, '+'));
        assert_eq!(
            error("WRITE_ONCE(*x, 3000000000);", "x=1"),
            Error::Number(7, "3000000000".into())
        );
        assert_eq!(error("", "x=1 (* "), Error::Comment(9));
        assert_eq!(
            error("if (r0) smp_mb();", "x=1").to_string(),
            "line 7: the function if is not known"
        );
        assert_eq!(
            error("smp_mb()", "x=1").to_string(),
            "line 8: \"}\" where \";\" should be"
        );
        assert_eq!(
            error("", "x=1 y").to_string(),
            "line 9: \"y\" where the end should be"
        );
    }

    #[test]
    fn a_test_is_whole() {
        let error = |text: &str| Test::parse(text).unwrap_err();
        assert_eq!(error("C one\n{ }\n"), Error::NoResult);
        assert_eq!(
            error("C one\n(*\n * Result: Always\n *)\n"),
            Error::Result(3, "Always".into())
        );
        assert!(matches!(
            error("X one\n"),
            Error::Unexpected { line: 1, .. }
        ));
        let start = "C one\n(* Result: Never *)\n{ }\n";
        assert_eq!(
            error(&format!("{start}P1(int *x) {{ }}")),
            Error::Program(4, "P1".into())
        );
        assert_eq!(
            error(&format!("{start}exists x=0")),
            Error::Program(4, "exists".into())
        );
        let programs = [0, 1, 2, 3, 4].map(|i| format!("P{i}(int *x) {{ }}"));
        assert_eq!(
            error(&format!("{start}{}", programs.join(" "))),
            Error::Programs
        );
        assert!(matches!(
            error(&format!("{start}P0(int *x) {{ }}")),
            Error::Unexpected { line: 4, .. }
        ));
    }
}
