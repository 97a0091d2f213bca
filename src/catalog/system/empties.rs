//! Relations that PostgreSQL has and that never have rows here: they exist so that client queries plan.

use super::table::{OIDS, OIDVECTOR, TEXTS, empty};
use crate::catalog::discover::SystemRelation;
use crate::pgtype::PgType;

const OID: PgType = PgType::OID;
const NAME: PgType = PgType::NAME;
const BOOL: PgType = PgType::BOOL;
const CHAR: PgType = PgType::CHAR;
const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const INT8: PgType = PgType::INT8;

type Columns = &'static [(&'static str, PgType)];

const EMPTIES: &[(&str, u32, Columns)] = &[
    ("pg_inherits", 2611, &[("inhrelid", OID), ("inhparent", OID), ("inhseqno", INT4), ("inhdetachpending", BOOL)]),
    (
        "pg_trigger",
        2620,
        &[
            ("oid", OID),
            ("tgrelid", OID),
            ("tgparentid", OID),
            ("tgname", NAME),
            ("tgfoid", OID),
            ("tgtype", PgType::INT2),
            ("tgenabled", CHAR),
            ("tgisinternal", BOOL),
            ("tgconstraint", OID),
            ("tgdeferrable", BOOL),
            ("tginitdeferred", BOOL),
        ],
    ),
    (
        "pg_rewrite",
        2618,
        &[("oid", OID), ("rulename", NAME), ("ev_class", OID), ("ev_type", CHAR), ("ev_enabled", CHAR), ("is_instead", BOOL)],
    ),
    (
        "pg_policy",
        3256,
        &[
            ("oid", OID),
            ("polname", NAME),
            ("polrelid", OID),
            ("polcmd", CHAR),
            ("polpermissive", BOOL),
            ("polroles", OIDS),
            ("polqual", TEXT),
            ("polwithcheck", TEXT),
        ],
    ),
    (
        "pg_statistic_ext",
        3381,
        &[
            ("oid", OID),
            ("stxrelid", OID),
            ("stxname", NAME),
            ("stxnamespace", OID),
            ("stxowner", OID),
            ("stxstattarget", INT4),
            ("stxkind", TEXTS),
        ],
    ),
    (
        "pg_publication",
        6104,
        &[
            ("oid", OID),
            ("pubname", NAME),
            ("pubowner", OID),
            ("puballtables", BOOL),
            ("pubinsert", BOOL),
            ("pubupdate", BOOL),
            ("pubdelete", BOOL),
            ("pubtruncate", BOOL),
            ("pubviaroot", BOOL),
        ],
    ),
    ("pg_publication_rel", 6106, &[("oid", OID), ("prpubid", OID), ("prrelid", OID), ("prqual", TEXT), ("prattrs", TEXTS)]),
    ("pg_publication_namespace", 6237, &[("oid", OID), ("pnpubid", OID), ("pnnspid", OID)]),
    ("pg_publication_tables", 0, &[("pubname", NAME), ("schemaname", NAME), ("tablename", NAME)]),
    ("pg_subscription", 6100, &[("oid", OID), ("subdbid", OID), ("subname", NAME), ("subowner", OID), ("subenabled", BOOL)]),
    ("pg_enum", 3501, &[("oid", OID), ("enumtypid", OID), ("enumsortorder", PgType::FLOAT4), ("enumlabel", NAME)]),
    (
        "pg_proc",
        1255,
        &[
            ("oid", OID),
            ("proname", NAME),
            ("pronamespace", OID),
            ("proowner", OID),
            ("prolang", OID),
            ("prokind", CHAR),
            ("prosecdef", BOOL),
            ("proretset", BOOL),
            ("provolatile", CHAR),
            ("pronargs", PgType::INT2),
            ("prorettype", OID),
            ("proargtypes", OIDVECTOR),
            ("proallargtypes", OIDS),
            ("proargmodes", TEXTS),
            ("proargnames", TEXTS),
            ("prosrc", TEXT),
            ("proacl", TEXTS),
        ],
    ),
    ("pg_language", 2612, &[("oid", OID), ("lanname", NAME), ("lanowner", OID), ("lanpltrusted", BOOL)]),
    (
        "pg_operator",
        2617,
        &[
            ("oid", OID),
            ("oprname", NAME),
            ("oprnamespace", OID),
            ("oprleft", OID),
            ("oprright", OID),
            ("oprresult", OID),
            ("oprcode", OID),
        ],
    ),
    (
        "pg_opclass",
        2616,
        &[
            ("oid", OID),
            ("opcmethod", OID),
            ("opcname", NAME),
            ("opcnamespace", OID),
            ("opcowner", OID),
            ("opcfamily", OID),
            ("opcintype", OID),
            ("opcdefault", BOOL),
        ],
    ),
    ("pg_opfamily", 2753, &[("oid", OID), ("opfmethod", OID), ("opfname", NAME), ("opfnamespace", OID), ("opfowner", OID)]),
    (
        "pg_amop",
        2602,
        &[
            ("oid", OID),
            ("amopfamily", OID),
            ("amoplefttype", OID),
            ("amoprighttype", OID),
            ("amopstrategy", PgType::INT2),
            ("amoppurpose", CHAR),
            ("amopopr", OID),
            ("amopmethod", OID),
            ("amopsortfamily", OID),
        ],
    ),
    (
        "pg_amproc",
        2603,
        &[
            ("oid", OID),
            ("amprocfamily", OID),
            ("amproclefttype", OID),
            ("amprocrighttype", OID),
            ("amprocnum", PgType::INT2),
            ("amproc", OID),
        ],
    ),
    ("pg_aggregate", 2600, &[("aggfnoid", OID), ("aggkind", CHAR), ("aggnumdirectargs", PgType::INT2)]),
    (
        "pg_cast",
        2605,
        &[("oid", OID), ("castsource", OID), ("casttarget", OID), ("castfunc", OID), ("castcontext", CHAR), ("castmethod", CHAR)],
    ),
    ("pg_conversion", 2607, &[("oid", OID), ("conname", NAME), ("connamespace", OID)]),
    (
        "pg_depend",
        2608,
        &[
            ("classid", OID),
            ("objid", OID),
            ("objsubid", INT4),
            ("refclassid", OID),
            ("refobjid", OID),
            ("refobjsubid", INT4),
            ("deptype", CHAR),
        ],
    ),
    (
        "pg_shdepend",
        1214,
        &[
            ("dbid", OID),
            ("classid", OID),
            ("objid", OID),
            ("objsubid", INT4),
            ("refclassid", OID),
            ("refobjid", OID),
            ("deptype", CHAR),
        ],
    ),
    ("pg_shdescription", 2396, &[("objoid", OID), ("classoid", OID), ("description", TEXT)]),
    ("pg_seclabel", 3596, &[("objoid", OID), ("classoid", OID), ("objsubid", INT4), ("provider", TEXT), ("label", TEXT)]),
    (
        "pg_sequence",
        2224,
        &[
            ("seqrelid", OID),
            ("seqtypid", OID),
            ("seqstart", INT8),
            ("seqincrement", INT8),
            ("seqmax", INT8),
            ("seqmin", INT8),
            ("seqcache", INT8),
            ("seqcycle", BOOL),
        ],
    ),
    (
        "pg_sequences",
        0,
        &[("schemaname", NAME), ("sequencename", NAME), ("sequenceowner", NAME), ("start_value", INT8), ("last_value", INT8)],
    ),
    (
        "pg_extension",
        3079,
        &[
            ("oid", OID),
            ("extname", NAME),
            ("extowner", OID),
            ("extnamespace", OID),
            ("extrelocatable", BOOL),
            ("extversion", TEXT),
        ],
    ),
    ("pg_available_extensions", 0, &[("name", NAME), ("default_version", TEXT), ("installed_version", TEXT), ("comment", TEXT)]),
    ("pg_foreign_data_wrapper", 2328, &[("oid", OID), ("fdwname", NAME), ("fdwowner", OID)]),
    ("pg_foreign_server", 1417, &[("oid", OID), ("srvname", NAME), ("srvowner", OID), ("srvfdw", OID), ("srvoptions", TEXTS)]),
    ("pg_foreign_table", 3118, &[("ftrelid", OID), ("ftserver", OID), ("ftoptions", TEXTS)]),
    ("pg_user_mappings", 0, &[("umid", OID), ("srvid", OID), ("srvname", NAME), ("umuser", OID), ("usename", NAME)]),
    ("pg_event_trigger", 3466, &[("oid", OID), ("evtname", NAME), ("evtevent", NAME), ("evtowner", OID), ("evtenabled", CHAR)]),
    ("pg_auth_members", 1261, &[("roleid", OID), ("member", OID), ("grantor", OID), ("admin_option", BOOL)]),
    ("pg_db_role_setting", 2964, &[("setdatabase", OID), ("setrole", OID), ("setconfig", TEXTS)]),
    (
        "pg_default_acl",
        826,
        &[("oid", OID), ("defaclrole", OID), ("defaclnamespace", OID), ("defaclobjtype", CHAR), ("defaclacl", TEXTS)],
    ),
    ("pg_partitioned_table", 3350, &[("partrelid", OID), ("partstrat", CHAR), ("partnatts", PgType::INT2), ("partdefid", OID)]),
    ("pg_largeobject_metadata", 2995, &[("oid", OID), ("lomowner", OID), ("lomacl", TEXTS)]),
    ("pg_ts_config", 3602, &[("oid", OID), ("cfgname", NAME), ("cfgnamespace", OID), ("cfgowner", OID)]),
    ("pg_ts_dict", 3600, &[("oid", OID), ("dictname", NAME), ("dictnamespace", OID), ("dictowner", OID)]),
    ("pg_ts_parser", 3601, &[("oid", OID), ("prsname", NAME), ("prsnamespace", OID)]),
    ("pg_ts_template", 3764, &[("oid", OID), ("tmplname", NAME), ("tmplnamespace", OID)]),
    (
        "pg_stats",
        0,
        &[
            ("schemaname", NAME),
            ("tablename", NAME),
            ("attname", NAME),
            ("null_frac", PgType::FLOAT4),
            ("n_distinct", PgType::FLOAT4),
        ],
    ),
];

pub(super) fn relations() -> Vec<SystemRelation> {
    EMPTIES.iter().map(|(name, oid, columns)| empty("pg_catalog", name, *oid, columns)).collect()
}

/// Whether `pg_catalog.<name>` has no rows under any snapshot.
pub fn always_empty(name: &str) -> bool {
    EMPTIES.iter().any(|(known, _, _)| *known == name)
}
