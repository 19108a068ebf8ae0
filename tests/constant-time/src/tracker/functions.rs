//! The functions of an executable, and how much of each has run.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// The functions of an executable file.
pub struct Functions {
    functions: Vec<Function>,
}

/// One of them.
pub struct Function {
    /// Demangled, without the hash.
    pub name: String,
    /// Its addresses in the file.
    pub range: Range<u64>,
    /// In order.
    pub instructions: Vec<Instruction>,
}

impl Functions {
    /// Reads them.
    ///
    /// # Errors
    /// When the file can't be read or is no executable with symbols.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let file = object::File::parse(&*bytes).map_err(io::Error::other)?;
        let mut functions = Vec::new();
        for symbol in file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        {
            let section = symbol
                .section_index()
                .and_then(|index| file.section_by_index(index).ok());
            let code = section
                .and_then(|section| section.data_range(symbol.address(), symbol.size()).ok()?);
            let (Some(code), Ok(name)) = (code, symbol.name()) else {
                continue;
            };
            let decoder = Decoder::with_ip(64, code, symbol.address(), DecoderOptions::NONE);
            functions.push(Function {
                name: format!("{:#}", rustc_demangle::demangle(name)),
                range: symbol.address()..symbol.address() + symbol.size(),
                instructions: decoder.into_iter().collect(),
            });
        }
        if functions.is_empty() {
            return Err(io::Error::other("no function has a symbol"));
        }
        Ok(Self { functions })
    }

    /// Those whose name contains `part`.
    pub fn named<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Function> {
        self.functions
            .iter()
            .filter(move |function| function.name.contains(part))
    }

    /// The function that has `address`, as a person reads it.
    pub fn place(&self, address: u64) -> String {
        let function = self
            .functions
            .iter()
            .find(|function| function.range.contains(&address));
        let name = function.map_or("outside of the program's own functions", |function| {
            &function.name
        });
        format!("{address:#x} in {name}")
    }
}

impl Function {
    /// Its instructions that are not among those that `ran`, with their index; without those that only fill up space.
    pub fn not_run<'a>(
        &'a self,
        ran: &'a HashSet<u64>,
    ) -> impl Iterator<Item = (usize, &'a Instruction)> {
        let is_padding = |instruction: &Instruction| {
            matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
        };
        let instructions = self.instructions.iter().enumerate();
        instructions.filter(move |(_, instruction)| {
            !ran.contains(&instruction.ip()) && !is_padding(instruction)
        })
    }
}

/// In Intel's notation.
pub fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}
