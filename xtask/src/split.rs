//! Splits a module of WebAssembly in two: one that stands by itself, and a part that is loaded into
//! its instance later and uses its memory, its table and its functions.

use crate::Result;
use kez_core::ObjectId;
use std::collections::HashMap;
use walrus::{
    ConstExpr, ElementItems, ElementKind, ExportItem, FunctionId, FunctionKind, GlobalKind,
    ImportKind, ImportedFunction, Module, ModuleConfig, ir::Value, passes::gc,
};

/// The name that a part has for the first module.
pub(crate) const LINK: &str = "b";

/// A module in two.
pub(crate) struct Split {
    /// What stands by itself.
    pub(crate) first: Vec<u8>,
    /// What is loaded into its instance.
    pub(crate) part: Vec<u8>,
}

/// Moves the exports that `goes` names into a part, with all that nothing else reaches. What is called through the
/// table anybody may call, so it stays, unless `own` says of its name that only these exports have
/// it called. Constants stay too: nothing tells whose they are.
///
/// # Errors
/// If it is no module as a linker makes them: one memory, and tables that are filled at numbers.
pub(crate) fn split(
    module: &[u8],
    goes: impl Fn(&str) -> bool,
    own: impl Fn(&str) -> bool,
    names: bool,
) -> Result<Split> {
    let parse = || -> Result<Module> {
        let mut config = ModuleConfig::new();
        config.generate_name_section(names).generate_producers_section(false);
        Ok(config.parse(module)?)
    };
    let own = |module: &Module, id| module.funcs.get(id).name.as_deref().is_some_and(&own);

    let mut first = parse()?;
    keep_exports(&mut first, |name| !goes(name));
    keep_elements(&mut first, |module, id| !own(module, id))?;
    gc::run(&mut first);
    // What is read twice from the same bytes has the same numbers.
    let functions: HashMap<usize, FunctionId> =
        first.funcs.iter_local().map(|(id, _)| (id.index(), id)).collect();

    let mut part = parse()?;
    keep_exports(&mut part, goes);
    keep_elements(&mut part, own)?;
    if part.elements.iter().next().is_none() {
        return Err("nothing that is called through the table has a name of the part's own".into());
    }
    import(&mut part, |id| functions.contains_key(&id.index()));
    gc::run(&mut part);

    // A part knows where in memory the constants of its own build lie, so no other build's may
    // have a memory of that name.
    let memory = format!("m{}", &ObjectId::digest("module", module).short()[..8]);
    for (number, import) in
        part.imports.iter_mut().filter(|import| import.module == LINK).enumerate()
    {
        let item: Option<ExportItem> = match import.kind {
            ImportKind::Function(id) => functions.get(&id.index()).copied().map(Into::into),
            ImportKind::Table(id) => {
                let mut tables = first.tables.iter().map(walrus::Table::id);
                tables.find(|table| table.index() == id.index()).map(Into::into)
            }
            ImportKind::Global(id) => {
                let mut globals = first.globals.iter().map(walrus::Global::id);
                globals.find(|global| global.index() == id.index()).map(Into::into)
            }
            ImportKind::Memory(_) => first.memories.iter().next().map(|own| own.id().into()),
            ImportKind::Tag(_) => None,
        };
        let item = item.ok_or_else(|| format!("the first module has no {:?}", import.kind))?;
        let is_memory = matches!(item, ExportItem::Memory(_));
        import.name = if is_memory { memory.clone() } else { number.to_string() };
        first.exports.add(&import.name, item);
    }
    Ok(Split { first: first.emit_wasm(), part: part.emit_wasm() })
}

fn keep_exports(module: &mut Module, keep: impl Fn(&str) -> bool) {
    let gone: Vec<_> =
        module.exports.iter().filter(|e| !keep(&e.name)).map(walrus::Export::id).collect();
    for export in gone {
        module.exports.delete(export);
    }
}

/// Leaves out functions of the table. What stays has the places that it had.
fn keep_elements(module: &mut Module, keep: impl Fn(&Module, FunctionId) -> bool) -> Result<()> {
    let all: Vec<_> = module.elements.iter().map(walrus::Element::id).collect();
    for id in all {
        let element = module.elements.get(id);
        let (ElementKind::Active { table, offset }, ElementItems::Functions(functions)) =
            (&element.kind, &element.items)
        else {
            return Err("a table is not filled with functions at once".into());
        };
        let &ConstExpr::Value(Value::I32(start)) = offset else {
            return Err("a table is not filled at a number".into());
        };
        let (table, functions) = (*table, functions.clone());
        module.elements.delete(id);
        module.tables.get_mut(table).elem_segments.remove(&id);
        let mut run = Vec::new();
        for (place, function) in (start..).zip(functions.iter().map(Some).chain([None])) {
            if let Some(function) = function.filter(|id| keep(module, **id)) {
                run.push(*function);
            } else if !run.is_empty() {
                let begin = place - i32::try_from(run.len())?;
                let offset = ConstExpr::Value(Value::I32(begin));
                let items = ElementItems::Functions(std::mem::take(&mut run));
                let new = module.elements.add(ElementKind::Active { table, offset }, items);
                module.tables.get_mut(table).elem_segments.insert(new);
            }
        }
    }
    Ok(())
}

/// Imports what the first module has: these functions, and all that keeps a state.
fn import(part: &mut Module, has: impl Fn(FunctionId) -> bool) {
    part.start = None;
    let data: Vec<_> = part.data.iter().map(walrus::Data::id).collect();
    for data in data {
        part.data.delete(data);
    }
    for memory in part.memories.iter_mut() {
        memory.data_segments.clear();
        memory.import = Some(part.imports.add(LINK, "", memory.id()));
    }
    for table in part.tables.iter_mut() {
        table.import = Some(part.imports.add(LINK, "", table.id()));
    }
    let globals: Vec<_> = part.globals.iter().map(walrus::Global::id).collect();
    for global in globals {
        let import = part.imports.add(LINK, "", global);
        part.globals.get_mut(global).kind = GlobalKind::Import(import);
    }
    for function in part.funcs.iter_mut() {
        if let FunctionKind::Local(local) = &function.kind
            && has(function.id())
        {
            let (id, ty) = (function.id(), local.ty());
            let import = part.imports.add(LINK, "", id);
            function.kind = FunctionKind::Import(ImportedFunction { import, ty });
        }
    }
}
