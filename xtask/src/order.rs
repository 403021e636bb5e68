//! The order of a module's functions. Compression remembers what came just before: where like stands
//! beside like, brotli makes a module 3 parts in a hundred smaller.

use crate::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use wasm_encoder::{
    CodeSection, FunctionSection, Module,
    reencode::{Error, Reencode},
};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef,
};

/// Below this an index takes a single byte in a call. wasm-opt gives those to what is called most.
const SHORT: usize = 128;

/// How many functions a module imports, and where in it the bodies of its own are.
///
/// # Errors
/// What is no module.
pub(crate) fn functions(module: &[u8]) -> Result<(u32, Vec<Range<usize>>)> {
    let (mut imports, mut bodies) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imports += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range()),
            _ => {}
        }
    }
    Ok((imports, bodies))
}

/// The module with its functions in another order, and else the same.
///
/// # Errors
/// What is no module.
pub(crate) fn by_likeness(module: &[u8]) -> Result<Vec<u8>> {
    let (imports, bodies) = functions(module)?;
    let bodies: Vec<&[u8]> = bodies.into_iter().map(|body| &module[body]).collect();
    let short = SHORT.saturating_sub(imports as usize).min(bodies.len());
    let mut order = chain(&bodies[..short]);
    order.extend(chain(&bodies[short..]).into_iter().map(|at| at + short));
    let mut places = vec![0; order.len()];
    for (place, at) in (imports..).zip(&order) {
        places[*at] = place;
    }
    let mut out = Module::new();
    Reordered { imports, order, places }
        .parse_core_module(&mut out, Parser::new(0), module)
        .map_err(|e| e.to_string())?;
    Ok(out.finish())
}

/// Each is followed by what has most sequences of four bytes in common with it, large ones not
/// preferred.
fn chain(bodies: &[&[u8]]) -> Vec<usize> {
    let sequences: Vec<BTreeSet<&[u8]>> = bodies.iter().map(|b| b.windows(4).collect()).collect();
    let mut with = BTreeMap::<&[u8], Vec<usize>>::new();
    for (at, own) in sequences.iter().enumerate() {
        for sequence in own {
            with.entry(sequence).or_default().push(at);
        }
    }
    let sizes: Vec<f64> = sequences.iter().map(|own| (own.len() as f64 + 1.0).sqrt()).collect();
    let mut left: BTreeSet<usize> = (0..bodies.len()).collect();
    let mut order = Vec::with_capacity(bodies.len());
    let mut next = left.pop_first();
    while let Some(at) = next {
        order.push(at);
        let mut common = vec![0_u32; bodies.len()];
        for sequence in &sequences[at] {
            for other in &with[sequence] {
                common[*other] += 1;
            }
        }
        let likeness = left.iter().map(|at| (f64::from(common[*at]) / sizes[*at], *at));
        next = likeness.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| at);
        if let Some(next) = next {
            left.remove(&next);
        }
    }
    order
}

struct Reordered {
    imports: u32,
    /// Where each function was among those of the module.
    order: Vec<usize>,
    /// Its index now, by where it was.
    places: Vec<u32>,
}

impl Reencode for Reordered {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> std::result::Result<u32, Error> {
        Ok(function.checked_sub(self.imports).map_or(function, |at| self.places[at as usize]))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> std::result::Result<(), Error> {
        let types = section.into_iter().collect::<std::result::Result<Vec<u32>, _>>()?;
        for at in &self.order {
            functions.function(types[*at]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> std::result::Result<(), Error> {
        let bodies =
            section.into_iter().collect::<std::result::Result<Vec<FunctionBody<'_>>, _>>()?;
        for at in self.order.clone() {
            self.parse_function_body(code, bodies[at].clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{
        EntityType, ExportKind, ExportSection, Function, ImportSection, Instruction, TypeSection,
    };
    use wasmparser::Operator;

    /// Two of one kind, then two of another, mixed: kinds come together, and every export and call
    /// still means the same function.
    #[test]
    fn like_beside_like() {
        let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
        let (mut functions, mut exports) = (FunctionSection::new(), ExportSection::new());
        let mut code = CodeSection::new();
        types.ty().function([], []);
        imports.import("host", "f", EntityType::Function(0));
        for n in 0..4_i32 {
            functions.function(0);
            exports.export(&format!("f{n}"), ExportKind::Func, n as u32 + 1);
            let mut body = Function::new([]);
            for _ in 0..4 {
                body.instruction(&Instruction::I32Const(1000 * (1 + n % 2)));
                body.instruction(&Instruction::Drop);
            }
            // Each calls the one before it, the first the host's.
            body.instruction(&Instruction::Call(n as u32));
            body.instruction(&Instruction::I32Const(n));
            body.instruction(&Instruction::Drop);
            body.instruction(&Instruction::End);
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions);
        module.section(&exports).section(&code);

        let ordered = by_likeness(&module.finish()).unwrap();
        let (mut exported, mut bodies) = (BTreeMap::new(), Vec::new());
        for payload in Parser::new(0).parse_all(&ordered) {
            match payload.unwrap() {
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.unwrap();
                        exported.insert(export.name.to_owned(), export.index);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let (mut last, mut calls) = (0, 0);
                    for operator in body.get_operators_reader().unwrap() {
                        match operator.unwrap() {
                            Operator::I32Const { value } => last = value,
                            Operator::Call { function_index } => calls = function_index,
                            _ => {}
                        }
                    }
                    bodies.push((last, calls));
                }
                _ => {}
            }
        }
        let at = |n: i32| exported[&format!("f{n}")];
        assert_eq!(bodies.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 2, 3, 1]);
        for (n, (what, calls)) in (0..4).map(|n| (n, bodies[at(n) as usize - 1])) {
            assert_eq!((what, calls), (n, if n == 0 { 0 } else { at(n - 1) }));
        }
    }
}
