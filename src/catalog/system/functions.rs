//! Functions that describe the catalog and the session: `current_schema`, `format_type`, `pg_get_indexdef`, ….
//!
//! They are made for each statement, so that they answer from its snapshot and session. All are evaluated row by row: they
//! run over catalog relations, never over data.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::classes::attributes;
use super::server::{role_name, role_oid};
use super::text;
use crate::catalog::keyword::quote_identifier;
use crate::catalog::name::{QualifiedName, SearchPath, split_name};
use crate::catalog::snapshot::{RelationBody, SessionFacts, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgField, PgType};

/// What the functions answer from.
#[derive(Debug)]
struct Environment {
    snapshot: Arc<Snapshot>,
    facts: Arc<SessionFacts>,
}

type Evaluate = fn(&Environment, &[Argument]) -> std::result::Result<Answer, Diagnosis>;

/// An argument: integers and texts are all that these functions take; truth values are the texts `true` and `false`.
#[derive(Debug, Clone)]
enum Argument {
    Null,
    Int(i64),
    Text(String),
    /// An array, of which only the length counts.
    Array(usize),
    Other,
}

impl Argument {
    /// An object id, also when it was written as text.
    fn oid(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Array(_) | Self::Other => None,
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A result.
#[derive(Debug, Clone)]
enum Answer {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Texts(Vec<String>),
    /// The numbers from 1 to this.
    Ordinals(usize),
}

impl<T: Into<String>> From<Option<T>> for Answer {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, |value| Self::Text(value.into()))
    }
}

struct SystemFunction {
    name: &'static str,
    returns: PgType,
    evaluate: Evaluate,
    signature: Signature,
    environment: Arc<Environment>,
}

impl std::fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for SystemFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.environment, &other.environment)
    }
}

impl Eq for SystemFunction {}

impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.carrier())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, self.returns.carrier(), true).with_pg_type(self.returns)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut answers = Vec::with_capacity(rows);
        for row in 0..rows {
            let arguments: Result<Vec<Argument>> = args.args.iter().map(|arg| argument(arg, row)).collect();
            answers.push(self.scalar((self.evaluate)(&self.environment, &arguments?)?)?);
        }
        match answers.pop() {
            Some(only) if scalar => Ok(ColumnarValue::Scalar(only)),
            Some(last) => {
                answers.push(last);
                let array: ArrayRef = ScalarValue::iter_to_array(answers)?;
                Ok(ColumnarValue::Array(array))
            }
            None => Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns.carrier()))),
        }
    }
}

impl SystemFunction {
    fn scalar(&self, answer: Answer) -> Result<ScalarValue> {
        Ok(match answer {
            Answer::Null => ScalarValue::try_from(&self.returns.carrier())?,
            Answer::Bool(value) => ScalarValue::Boolean(Some(value)),
            Answer::Int(value) if self.returns.carrier() == DataType::Int32 => ScalarValue::Int32(i32::try_from(value).ok()),
            Answer::Int(value) => ScalarValue::Int64(Some(value)),
            Answer::Text(value) => ScalarValue::Utf8(Some(value)),
            Answer::Texts(values) => self.list(values.into_iter().map(|value| ScalarValue::Utf8(Some(value))).collect())?,
            Answer::Ordinals(count) => {
                let ordinals = (1..=count).map(|number| ScalarValue::Int32(i32::try_from(number).ok()));
                self.list(ordinals.collect())?
            }
        })
    }

    fn list(&self, items: Vec<ScalarValue>) -> Result<ScalarValue> {
        let DataType::List(item) = self.returns.carrier() else { return Ok(ScalarValue::Null) };
        let list = ScalarValue::new_list(&items, item.data_type(), true);
        let list = arrow::array::ListArray::try_new(item, list.offsets().clone(), Arc::clone(list.values()), None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }
}

fn argument(value: &ColumnarValue, row: usize) -> Result<Argument> {
    let scalar = match value {
        ColumnarValue::Scalar(scalar) => scalar.clone(),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row)?,
    };
    Ok(match scalar {
        other if other.is_null() => Argument::Null,
        ScalarValue::Int16(Some(value)) => Argument::Int(i64::from(value)),
        ScalarValue::Int32(Some(value)) => Argument::Int(i64::from(value)),
        ScalarValue::Int64(Some(value)) => Argument::Int(value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Argument::Text(text)
        }
        ScalarValue::Boolean(Some(truth)) => Argument::Text(truth.to_string()),
        ScalarValue::List(list) => Argument::Array(list.value_length(0).try_into().unwrap_or(0)),
        _ => Argument::Other,
    })
}

/// The functions of one statement.
pub fn functions(snapshot: &Arc<Snapshot>, facts: &Arc<SessionFacts>) -> Vec<Arc<ScalarUDF>> {
    let environment = Arc::new(Environment { snapshot: Arc::clone(snapshot), facts: Arc::clone(facts) });
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
    let make = |(name, returns, evaluate): &(&'static str, PgType, Evaluate)| {
        let environment = Arc::clone(&environment);
        let signature = signature.clone();
        Arc::new(ScalarUDF::from(SystemFunction { name, returns: *returns, evaluate: *evaluate, signature, environment }))
    };
    SESSION.iter().chain(CATALOG).chain(DEFINITIONS).chain(PRIVILEGES).map(make).collect()
}

/// Whether a function answers from a session and a snapshot, so that a plan that calls it belongs to them.
pub fn is_of_session(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).is::<SystemFunction>()
}

type Row = (&'static str, PgType, Evaluate);

const BOOL: PgType = PgType::BOOL;
const TEXT: PgType = PgType::TEXT;
const NAME: PgType = PgType::NAME;
const OID: PgType = PgType::OID;

const SESSION: &[Row] = &[
    ("current_database", NAME, |env, _| Ok(Answer::Text(env.snapshot.database.clone()))),
    ("current_catalog", NAME, |env, _| Ok(Answer::Text(env.snapshot.database.clone()))),
    ("current_schema", NAME, |env, _| Ok(env.facts.search_path.first().cloned().into())),
    ("current_schemas", super::table::NAMES, |env, args| {
        let implicit =
            !matches!(args.first(), Some(Argument::Text(word)) if word == "false") && !matches!(args.first(), Some(Argument::Null));
        let system = implicit.then(|| "pg_catalog".to_owned()).filter(|system| !env.facts.search_path.contains(system));
        Ok(Answer::Texts(system.into_iter().chain(env.facts.search_path.iter().cloned()).collect()))
    }),
    ("current_user", NAME, |env, _| Ok(Answer::Text(env.facts.role.clone()))),
    ("session_user", NAME, |env, _| Ok(Answer::Text(env.facts.role.clone()))),
    ("current_role", NAME, |env, _| Ok(Answer::Text(env.facts.role.clone()))),
    ("user", NAME, |env, _| Ok(Answer::Text(env.facts.role.clone()))),
    ("version", TEXT, |env, _| Ok(Answer::Text(format!("PostgreSQL {}, compiled by rustc, 64-bit", env.facts.server_version)))),
    ("pg_backend_pid", PgType::INT4, |env, _| Ok(Answer::Int(i64::from(env.facts.process_id)))),
    // Connection pools release locks with it; there are none to release.
    ("pg_advisory_unlock_all", TEXT, |_, _| Ok(Answer::Text(String::new()))),
    ("pg_is_in_recovery", BOOL, |_, _| Ok(Answer::Bool(false))),
    ("inet_server_addr", TEXT, |_, _| Ok(Answer::Null)),
    ("inet_server_port", PgType::INT4, |_, _| Ok(Answer::Null)),
    ("current_setting", TEXT, current_setting),
    ("set_config", TEXT, set_config),
    // What `pg_listening_channels` gives one by one (`federation::ast::channels`).
    ("pg_listening_channel_list", super::table::TEXTS, |env, _| Ok(Answer::Texts(env.facts.named.channels().clone()))),
];

fn current_setting(env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let Some(name) = args.first().and_then(Argument::text) else { return Ok(Answer::Null) };
    match env.facts.settings.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, value, _)) => Ok(Answer::Text(value.clone())),
        None if args.len() > 1 => Ok(Answer::Null),
        None => Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))),
    }
}

/// A function cannot change the session; `jit`, which drivers switch off, has no effect anyway.
fn set_config(_env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    match (args.first().and_then(Argument::text), args.get(1).and_then(Argument::text)) {
        (Some("jit"), Some(value)) => Ok(Answer::Text(value.to_owned())),
        _ => Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "set_config is not supported").with_hint("Use SET.")),
    }
}

const CATALOG: &[Row] = &[
    ("format_type", TEXT, |_, args| {
        let typmod = args.get(1).and_then(Argument::oid).and_then(|typmod| i32::try_from(typmod).ok()).unwrap_or(-1);
        Ok(args.first().and_then(Argument::oid).and_then(|oid| u32::try_from(oid).ok()).map(|oid| type_text(oid, typmod)).into())
    }),
    ("pg_get_userbyid", NAME, |env, args| {
        Ok(args.first().and_then(Argument::oid).and_then(|oid| role_name(&env.facts, oid)).cloned().into())
    }),
    ("pg_table_is_visible", BOOL, |env, args| visible(env, args)),
    ("pg_type_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_function_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_operator_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_opclass_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_opfamily_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_collation_is_visible", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("pg_encoding_to_char", NAME, |_, args| {
        Ok(args.first().and_then(Argument::oid).map(|number| if number == 6 { "UTF8" } else { "" }).into())
    }),
    ("getdatabaseencoding", NAME, |_, _| Ok(Answer::Text("UTF8".to_owned()))),
    ("pg_char_to_encoding", PgType::INT4, |_, _| Ok(Answer::Int(6))),
    ("pg_relation_is_publishable", BOOL, |_, _| Ok(Answer::Bool(false))),
    ("pg_partition_ancestors", OID, |_, _| Ok(Answer::Null)),
    ("pg_get_serial_sequence", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_relation_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_table_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_total_relation_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_indexes_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_database_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_tablespace_size", PgType::INT8, |_, _| Ok(Answer::Null)),
    ("pg_tablespace_location", TEXT, |_, _| Ok(Answer::Text(String::new()))),
    ("pg_size_pretty", TEXT, |_, args| Ok(args.first().and_then(Argument::oid).map(size_text).into())),
    ("to_regclass", PgType::REGCLASS, |env, args| Ok(named_relation(env, args).ok().map_or(Answer::Null, Answer::Int))),
    ("pg_array_ordinals", PgType::with_typmod(1007, -1), |_, args| {
        // A second argument is the dimension; arrays of the catalog have one.
        match (args.first(), args.get(1).map(Argument::oid)) {
            (Some(Argument::Array(count)), None | Some(Some(1))) => Ok(Answer::Ordinals(*count)),
            (Some(Argument::Array(_)), Some(Some(_))) => Ok(Answer::Ordinals(0)),
            _ => Ok(Answer::Null),
        }
    }),
    ("like_escape", TEXT, |_, args| like_escape(args)),
    ("to_regnamespace", PgType::REGNAMESPACE, |env, args| Ok(namespace_oid(env, args).unwrap_or(Answer::Null))),
    ("to_regtype", PgType::REGTYPE, |_, args| Ok(regtype_oid(args).unwrap_or(Answer::Null))),
    ("pg_cast_regclass", TEXT, |env, args| Ok(regclass_text(env, args.first()).into())),
    ("pg_oid_regclass", PgType::REGCLASS, |env, args| named_relation(env, args).map(Answer::Int)),
    ("pg_cast_regtype", TEXT, |_, args| Ok(regtype_text(args.first())?.into())),
    ("pg_oid_regtype", PgType::REGTYPE, |_, args| regtype_oid(args)),
    ("pg_oid_regproc", OID, |_, args| named_function(args)),
    ("pg_oid_regprocedure", OID, |_, args| named_function(args)),
    ("pg_cast_regproc", TEXT, |_, args| Ok(plain(args.first()).into())),
    ("pg_cast_regnamespace", TEXT, |env, args| Ok(namespace_text(env, args.first()).into())),
    ("pg_oid_regnamespace", PgType::REGNAMESPACE, |env, args| namespace_oid(env, args)),
    ("pg_cast_regrole", TEXT, |env, args| {
        Ok(args.first().and_then(Argument::oid).and_then(|oid| role_name(&env.facts, oid)).cloned().into())
    }),
    ("pg_oid_regrole", OID, |env, args| {
        Ok(args
            .first()
            .and_then(Argument::text)
            .and_then(|name| role_oid(&env.facts, name))
            .map_or(Answer::Null, |oid| Answer::Int(i64::from(oid))))
    }),
];

fn type_text(oid: u32, typmod: i32) -> String {
    let pg_type = PgType::with_typmod(oid, typmod);
    match crate::pgtype::builtin(oid).is_some() || pg_type.element().is_some() {
        true => pg_type.to_string(),
        false if oid == 0 => "-".to_owned(),
        false => "???".to_owned(),
    }
}

fn size_text(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size.abs() < 10_240 {
            return format!("{size} {unit}");
        }
        size = (size + if size < 0 { -512 } else { 512 }) / 1024;
    }
    format!("{size} TB")
}

/// A relation is visible when an unqualified name finds it.
fn visible(env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let Some(oid) = args.first().and_then(Argument::oid) else { return Ok(Answer::Null) };
    let index = env.snapshot.objects.indexes.iter().find(|index| i64::from(index.oid) == oid);
    let relation = u32::try_from(oid).ok().and_then(|oid| env.snapshot.relation_by_oid(oid));
    let (schema, name) = match (relation, index) {
        (Some(relation), _) => (&relation.schema, &relation.name),
        (None, Some(index)) => (&index.schema, &index.name),
        (None, None) => return Ok(Answer::Null),
    };
    Ok(Answer::Bool(is_first(env, schema, name)))
}

/// Whether the first schema on the path that has the name is this one.
fn is_first(env: &Environment, schema: &str, name: &str) -> bool {
    let set = env.facts.search_path.iter().map(String::as_str);
    let system = Some("pg_catalog").filter(|system| set.clone().all(|name| name != *system));
    let path = system.into_iter().chain(set);
    let mut holders = path.filter(|place| {
        env.snapshot.schemas.get(*place).is_some_and(|found| found.relations.contains_key(name))
            || env.snapshot.objects.indexes.iter().any(|index| index.schema == *place && index.name == name)
    });
    holders.next() == Some(schema)
}

/// `shop.orders`, `"Shop".orders` as an object id.
fn named_relation(env: &Environment, args: &[Argument]) -> std::result::Result<i64, Diagnosis> {
    let written = match args.first() {
        Some(Argument::Int(oid)) => return Ok(*oid),
        Some(Argument::Text(text)) => text,
        _ => return Err(Diagnosis::new(sqlstate::INVALID_NAME, "invalid name syntax")),
    };
    if let Ok(oid) = written.parse() {
        return Ok(oid);
    }
    let mut parts = split_name(written);
    let relation = parts.pop().unwrap_or_default();
    let name = QualifiedName { schema: parts.pop(), database: parts.pop(), relation };
    let path = SearchPath::Named(env.facts.search_path.clone());
    env.snapshot.resolve(&name, &path).map(|relation| i64::from(relation.oid))
}

fn regclass_text(env: &Environment, arg: Option<&Argument>) -> Option<String> {
    let oid = match arg? {
        Argument::Text(text) if text.parse::<i64>().is_err() => return Some(text.clone()),
        other => other.oid()?,
    };
    if oid == 0 {
        return Some("-".to_owned());
    }
    let index = env.snapshot.objects.indexes.iter().find(|index| i64::from(index.oid) == oid);
    let relation = u32::try_from(oid).ok().and_then(|oid| env.snapshot.relation_by_oid(oid));
    let (schema, name) = match (relation, index) {
        (Some(relation), _) => (&relation.schema, &relation.name),
        (None, Some(index)) => (&index.schema, &index.name),
        (None, None) => return Some(oid.to_string()),
    };
    let short = quote_identifier(name);
    Some(if is_first(env, schema, name) { short } else { format!("{}.{short}", quote_identifier(schema)) })
}

fn regtype_text(arg: Option<&Argument>) -> std::result::Result<Option<String>, Diagnosis> {
    let oid = match arg {
        Some(Argument::Text(text)) if text.parse::<u32>().is_err() => Some(crate::format::regtype::read(text)?),
        other => other.and_then(Argument::oid).and_then(|oid| u32::try_from(oid).ok()),
    };
    Ok(oid.map(|oid| type_text(oid, -1)))
}

fn regtype_oid(args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let Some(text) = args.first().and_then(Argument::text) else {
        return Ok(args.first().and_then(Argument::oid).map_or(Answer::Null, Answer::Int));
    };
    crate::format::regtype::read(text).map(|oid| Answer::Int(i64::from(oid)))
}

/// The pattern with its own escape character turned into a backslash.
fn like_escape(args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let [Argument::Text(pattern), Argument::Text(escape)] = args else { return Ok(Answer::Null) };
    let mut characters = escape.chars();
    let (escape, None) = (characters.next(), characters.next()) else {
        let error = Diagnosis::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "invalid escape string");
        return Err(error.with_hint("Escape string must be empty or one character."));
    };
    let mut translated = String::with_capacity(pattern.len() + 4);
    let mut rest = pattern.chars();
    while let Some(found) = rest.next() {
        match found {
            _ if Some(found) == escape => {
                translated.push('\\');
                translated.extend(rest.next());
            }
            '\\' => translated.push_str("\\\\"),
            other => translated.push(other),
        }
    }
    Ok(Answer::Text(translated))
}

fn plain(arg: Option<&Argument>) -> Option<String> {
    match arg? {
        Argument::Text(text) => Some(text.clone()),
        Argument::Int(0) => Some("-".to_owned()),
        Argument::Int(oid) => Some(oid.to_string()),
        Argument::Null | Argument::Array(_) | Argument::Other => None,
    }
}

/// Functions of PostgreSQL that clients tell array types by: name and object id.
const ARRAY_FUNCTIONS: &[(&str, i64)] = &[("array_in", 750), ("array_out", 751), ("array_recv", 2400), ("array_send", 2401)];

/// `pg_proc` is empty, so no other function is found by its name.
fn named_function(args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let Some(text) = args.first().and_then(Argument::text) else { return Ok(Answer::Null) };
    if let Ok(oid) = text.parse() {
        return Ok(Answer::Int(oid));
    }
    let name = split_name(text.split('(').next().unwrap_or_default()).pop().unwrap_or_default();
    match ARRAY_FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, oid)) => Ok(Answer::Int(*oid)),
        None => Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist"))),
    }
}

fn namespace_text(env: &Environment, arg: Option<&Argument>) -> Option<String> {
    let oid = arg?.oid()?;
    env.snapshot.schemas.values().find(|schema| i64::from(schema.oid) == oid).map(|schema| quote_identifier(&schema.name))
}

fn namespace_oid(env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let Some(text) = args.first().and_then(Argument::text) else { return Ok(Answer::Null) };
    let name = split_name(text).pop().unwrap_or_default();
    match env.snapshot.schemas.get(&name) {
        Some(schema) => Ok(Answer::Int(i64::from(schema.oid))),
        None => Err(Diagnosis::new(sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))),
    }
}

const DEFINITIONS: &[Row] = &[
    ("pg_get_expr", TEXT, |_, args| Ok(plain(args.first()).into())),
    ("pg_get_indexdef", TEXT, index_definition),
    ("pg_get_constraintdef", TEXT, |env, args| {
        let oid = args.first().and_then(Argument::oid);
        let found = env.snapshot.objects.constraints.iter().find(|constraint| Some(i64::from(constraint.oid)) == oid);
        Ok(found.map(text::constraint).into())
    }),
    ("pg_get_viewdef", TEXT, |env, args| {
        let relation = args
            .first()
            .and_then(Argument::oid)
            .and_then(|oid| u32::try_from(oid).ok())
            .and_then(|oid| env.snapshot.relation_by_oid(oid));
        Ok(relation.and_then(|relation| relation.body.definition().map(std::borrow::Cow::into_owned)).into())
    }),
    ("pg_get_partkeydef", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_triggerdef", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_ruledef", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_serial_sequence", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_statisticsobjdef_columns", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_function_result", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_function_arguments", TEXT, |_, _| Ok(Answer::Null)),
    ("pg_get_function_identity_arguments", TEXT, |_, _| Ok(Answer::Null)),
    ("obj_description", TEXT, |env, args| Ok(comment(env, args.first(), 0).into())),
    ("col_description", TEXT, |env, args| Ok(comment(env, args.first(), args.get(1).and_then(Argument::oid).unwrap_or(0)).into())),
    ("shobj_description", TEXT, |_, _| Ok(Answer::Null)),
];

/// The whole definition, or one key column of it.
fn index_definition(env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let oid = args.first().and_then(Argument::oid);
    let Some(index) = env.snapshot.objects.indexes.iter().find(|index| Some(i64::from(index.oid)) == oid) else {
        return Ok(Answer::Null);
    };
    match args.get(1).and_then(Argument::oid).unwrap_or(0) {
        0 => Ok(Answer::Text(text::index(index))),
        number => {
            let place = usize::try_from(number - 1).ok();
            Ok(place.and_then(|place| index.column_names.get(place)).map(|name| quote_identifier(name)).into())
        }
    }
}

fn comment(env: &Environment, table: Option<&Argument>, column: i64) -> Option<String> {
    let relation = env.snapshot.relation_by_oid(u32::try_from(table?.oid()?).ok()?)?;
    if column != 0 {
        return attributes(relation).into_iter().find(|attribute| i64::from(attribute.number) == column)?.comment;
    }
    match &relation.body {
        RelationBody::Stored { table, .. } => table.comment.clone(),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    }
}

/// Every role reads everything and writes nothing yet.
fn may(_env: &Environment, args: &[Argument]) -> std::result::Result<Answer, Diagnosis> {
    let wanted = args.last().and_then(Argument::text).unwrap_or_default().to_lowercase();
    let write = ["insert", "update", "delete", "truncate", "create", "temp", "trigger", "references"];
    Ok(Answer::Bool(!write.iter().any(|word| wanted.contains(word))))
}

const PRIVILEGES: &[Row] = &[
    ("has_table_privilege", BOOL, may),
    ("has_schema_privilege", BOOL, may),
    ("has_database_privilege", BOOL, may),
    ("has_column_privilege", BOOL, may),
    ("has_any_column_privilege", BOOL, may),
    ("has_sequence_privilege", BOOL, may),
    ("has_function_privilege", BOOL, may),
    ("has_language_privilege", BOOL, may),
    ("has_tablespace_privilege", BOOL, may),
    ("has_type_privilege", BOOL, may),
    ("pg_has_role", BOOL, |_, _| Ok(Answer::Bool(true))),
    ("row_security_active", BOOL, |_, _| Ok(Answer::Bool(false))),
    ("pg_relation_is_updatable", PgType::INT4, |_, _| Ok(Answer::Int(0))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_and_fold() {
        assert_eq!(split_name("Shop.Orders"), ["shop", "orders"]);
        assert_eq!(split_name("\"Shop.x\".\"Orders\""), ["Shop.x", "Orders"]);
    }

    #[test]
    fn sizes_read_as_postgres_writes_them() {
        for (bytes, expected) in [(0, "0 bytes"), (10_239, "10239 bytes"), (10_240, "10 kB"), (1 << 30, "1024 MB")] {
            assert_eq!(size_text(bytes), expected);
        }
    }

    #[test]
    fn types_have_names() {
        assert_eq!(type_text(1700, 655_366), "numeric(10,2)");
        assert_eq!(type_text(1009, -1), "text[]");
        assert_eq!(type_text(0, -1), "-");
    }
}
