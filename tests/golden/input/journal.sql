-- A journal as version 1 of its tables holds it: two looks, and what happened between.
PRAGMA application_id = 1768977517; -- "iptm"
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE authors (
        id INTEGER PRIMARY KEY,
        json TEXT NOT NULL
    ) STRICT;
INSERT INTO "authors" VALUES(1,'[{"pid":4711,"name":"iptables","executable":"/usr/sbin/xtables-nft-multi","command_line":"iptables -A INPUT -j DROP","parents":[{"pid":4000,"name":"bash"},{"pid":800,"name":"sshd"},{"pid":1,"name":"init"}],"container":"0123abcd","pod":{"uid":"u-1","name":["default","web-0"]}}]');
INSERT INTO "authors" VALUES(2,'[{"pid":4711,"name":"evil\u001b[2J\n2026-01-01T00:00:00Z  compliant","executable":"/usr/sbin/xtables-nft-multi","command_line":"evil\u001b[2J\n2026-01-01T00:00:00Z  compliant","parents":[{"pid":4000,"name":"bash"},{"pid":800,"name":"sshd"},{"pid":1,"name":"init"}],"container":"0123abcd","pod":{"uid":"u-1","name":["default","web-0"]}}]');
CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        moment_id INTEGER NOT NULL,
        rule_id INTEGER NOT NULL,
        happening TEXT NOT NULL,
        position INTEGER,
        is_allowed INTEGER NOT NULL,
        authors_id INTEGER
    ) STRICT;
INSERT INTO "changes" VALUES(1,2,3,'added',1,0,1);
INSERT INTO "changes" VALUES(2,2,4,'moved',1,0,2);
INSERT INTO "changes" VALUES(3,2,5,'removed',1,0,NULL);
INSERT INTO "changes" VALUES(4,2,6,'removed',1,1,NULL);
INSERT INTO "changes" VALUES(5,4,1,'rejudged',NULL,0,NULL);
INSERT INTO "changes" VALUES(6,4,2,'removed',NULL,1,NULL);
INSERT INTO "changes" VALUES(7,4,4,'removed',NULL,0,NULL);
CREATE TABLE moments (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        watch TEXT NOT NULL,
        not_watched_since INTEGER,
        verdict_before TEXT,
        verdict_after TEXT NOT NULL,
        untold INTEGER NOT NULL
    ) STRICT;
INSERT INTO "moments" VALUES(1,1795254896000,'resumed',NULL,NULL,'violations',0);
INSERT INTO "moments" VALUES(2,1795254996000,'watched',NULL,'compliant','violations',1204);
INSERT INTO "moments" VALUES(3,1795255096000,'watched',NULL,'violations','unknown',0);
INSERT INTO "moments" VALUES(4,1795341296000,'resumed',1795255096000,'unknown','violations',0);
CREATE TABLE rules (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        first_seen INTEGER NOT NULL,
        since INTEGER NOT NULL,
        is_older INTEGER NOT NULL,
        gone_at INTEGER,
        copies INTEGER NOT NULL,
        is_allowed INTEGER NOT NULL,
        backend TEXT NOT NULL,
        family TEXT NOT NULL,
        table_name TEXT NOT NULL,
        chain TEXT,
        kind TEXT NOT NULL,
        line BLOB,
        is_cut INTEGER NOT NULL
    ) STRICT;
INSERT INTO "rules" VALUES(1,X'BC4EEAEB7F5AEA666A6A94FF7D1F4385',1795254896000,1795254896000,1,NULL,1,0,'iptables-nft','ip','filter','INPUT','rule',X'2D4120494E505554202D69206C6F202D6A20414343455054',0);
INSERT INTO "rules" VALUES(2,X'C5F2729CAA873E0376EAF4D7E26C04CC',1795254896000,1795254896000,1,1795341296000,0,1,'iptables-nft','ip','filter','INPUT','rule',X'2D4120494E505554202D6A204C4F47',0);
INSERT INTO "rules" VALUES(3,X'8C0516174193E9C632FDC0573654761A',1795254996000,1795254996000,0,NULL,1,0,'iptables-nft','ip','filter','INPUT','rule',X'2D4120494E505554202D7320362E362E362E362F3332202D6A2044524F50',0);
INSERT INTO "rules" VALUES(4,X'46B7883813E86CEADFEE4514DA769BA9',1795254996000,1795254996000,1,1795341296000,0,0,'iptables-nft','ip','filter','INPUT','rule',X'2D4120494E505554206576696C1B5B324A0A323032362D30312D30315430303A30303A30305A2020636F6D706C69616E74',0);
INSERT INTO "rules" VALUES(5,X'06E8A51B72C575B3CB6413A83DD266F4',1795254996000,1795254996000,1,1795254996000,0,0,'iptables-nft','ip','filter','INPUT','rule',X'6C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E67206C6F6E6720',1);
INSERT INTO "rules" VALUES(6,X'6236267CEB7E28C1466A6E21B867151C',1795254996000,1795254996000,1,1795254996000,0,1,'iptables-nft','ip','filter','INPUT','rule',X'2DFF',0);
CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        watched_until INTEGER,
        verdict TEXT
    ) STRICT;
INSERT INTO "state" VALUES(1,1795341296000,'violations');
CREATE UNIQUE INDEX rules_by_key ON rules (key);
CREATE INDEX changes_by_moment ON changes (moment_id);
CREATE INDEX changes_by_rule ON changes (rule_id);
COMMIT;
