-- The ledger's conditions, written out. For every row that a CHECK looks at SQLite builds the list of an IN anew, in a table of
-- its own: three such lists were a fifth of what a row cost. No row can break by it what it did not break before, so the text
-- of the table is changed where it is kept, as SQLite's documentation has it for such constraints, and no row is touched.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
        'policy_result IN (''allowed'', ''warned'', ''blocked'')',
        'policy_result = ''allowed'' OR policy_result = ''warned'' OR policy_result = ''blocked'''),
        'usage_source IN (''provider'', ''counted'', ''estimated'')',
        'usage_source = ''provider'' OR usage_source = ''counted'' OR usage_source = ''estimated'''),
        'hold_outcome IN (''settled'', ''settled_before'', ''released'', ''expired'', ''unknown'')',
        'hold_outcome = ''settled'' OR hold_outcome = ''settled_before'' OR hold_outcome = ''released'' '
            || 'OR hold_outcome = ''expired'' OR hold_outcome = ''unknown''')
    WHERE type = 'table' AND name = 'cus_llm_usage';
PRAGMA writable_schema = RESET;
