//! Journals that older versions of this program wrote.

use super::*;

/// What an older version wrote is read as it stands, and brought up to date by whoever writes.
#[test]
fn a_journal_of_an_older_version_is_read_and_goes_on() {
    let added =
        |number: u8, judged| Change { position: Some(1), authors: Vec::new(), ..present(number, judged).1 };
    for older in 1..schema::VERSION {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let connection = Connection::open(&path).unwrap();
        for step in schema::STEPS.iter().take(older as usize) {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", older).unwrap();
        connection
            .execute_batch(
                "UPDATE state SET watched_until = 1000000000, verdict = 'violations';
                 INSERT INTO moments (id, at, watch, verdict_after, untold)
                    VALUES (1, 1000000000, 'watched', 'violations', 3);",
            )
            .unwrap();
        for (number, judged) in [(2, Judged::Unexpected), (4, Judged::Allowed)] {
            let (key, change) = present(number, judged);
            connection
                .execute(
                    "INSERT INTO rules VALUES (?1, ?2, 1000000000, 1000000000, 0, NULL, 1, ?3, 'iptables-nft', 'ip',
                        'filter', 'INPUT', 'rule', ?4, 0)",
                    rusqlite::params![number, key.0, judged.is_allowed(), change.line],
                )
                .unwrap();
            connection
                .execute(
                    "INSERT INTO changes VALUES (NULL, 1, ?1, 'added', 1, ?2, NULL)",
                    rusqlite::params![number, judged.is_allowed()],
                )
                .unwrap();
        }
        drop(connection);
        let before = std::fs::read(&path).unwrap();
        let read = all(directory.path());
        let told: Vec<_> = read.iter().map(|moment| (moment.untold, moment.changes.clone())).collect();
        assert_eq!(
            told,
            [(3, vec![added(2, Judged::Unexpected), added(4, Judged::Allowed)])],
            "version {older}"
        );
        let reader = HistoryReader::open(directory.path()).unwrap();
        let found = reader.rule(present(2, Judged::Allowed).0, 9).unwrap().unwrap();
        assert_eq!((found.life.judged, found.changes.len()), (Judged::Unexpected, 1));
        assert!(std::fs::read(&path).unwrap() == before, "reading alone changes nothing");
        drop(reader);
        let mut store = Store::open(directory.path(), LIMIT).unwrap();
        assert_eq!(all(directory.path()), read, "as it was read before");
        store
            .connection
            .execute("UPDATE state SET text_version = ?1", [crate::domain::rules::text::VERSION])
            .unwrap();
        let now = [present(2, Judged::Unexpected), present(4, Judged::NotJudged)];
        let moment = compare(&mut store, 1, true, &now).unwrap();
        let told: Vec<_> = moment.changes.iter().map(|change| (change.happening, change.judged)).collect();
        assert_eq!(told, [(Happening::Rejudged, Judged::NotJudged)]);
    }
}
