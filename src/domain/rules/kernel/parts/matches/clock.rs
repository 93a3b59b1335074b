//! The match `time`: when a packet comes.
//! Asks no clock.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::{clock, date_time, push};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[matching("time", BOTH, &[0], &[], "netfilter/xt_time.h", time)];

layout! {
    /// `struct xt_time_info`. Days of the month begin at bit 1, days of the week with Monday at bit 1.
    struct Time[24] {
        date_start: u32 = 0, date_stop: u32 = 4, daytime_start: u32 = 8, daytime_stop: u32 = 12,
        monthdays_match: u32 = 16, weekdays_match: u8 = 20, flags: u8 = 21
    }
}

fn time(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_TIME_LOCAL_TZ: u8 = 1 << 0;
    const XT_TIME_CONTIGUOUS: u8 = 1 << 1;
    const XT_TIME_ALL_MONTHDAYS: u32 = 0xffff_fffe;
    const XT_TIME_ALL_WEEKDAYS: u8 = 0xfe;
    /// `24 * 60 * 60 - 1`.
    const XT_TIME_MAX_DAYTIME: u32 = 86_399;
    const LAST_DATE: u32 = i32::MAX.cast_unsigned();
    const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let time: Time = info.decode()?;
    if time.daytime_start != 0 || time.daytime_stop != XT_TIME_MAX_DAYTIME {
        line.word("--timestart");
        clock(line, time.daytime_start)?;
        line.word("--timestop");
        clock(line, time.daytime_stop)?;
    }
    if time.monthdays_match != XT_TIME_ALL_MONTHDAYS {
        line.word("--monthdays");
        let days = (1..32).filter(|day| time.monthdays_match >> day & 1 != 0);
        days.enumerate().for_each(|(index, day)| push(line, format_args!("{}{day}", separator(index))));
    }
    if time.weekdays_match != XT_TIME_ALL_WEEKDAYS {
        line.word("--weekdays");
        let days = (1..8).zip(WEEKDAYS).filter(|(day, _)| time.weekdays_match >> day & 1 != 0);
        days.enumerate().for_each(|(index, (_, day))| push(line, format_args!("{}{day}", separator(index))));
    }
    if time.date_start != 0 {
        line.word("--datestart");
        date_time(line, time.date_start);
    }
    if time.date_stop != 0 {
        line.word("--datestop");
        date_time(line, time.date_stop);
    }
    if time.flags & XT_TIME_LOCAL_TZ != 0 {
        line.word("--kerneltz");
    }
    if time.flags & XT_TIME_CONTIGUOUS != 0 {
        line.word("--contiguous");
    }
    let is_said = time.monthdays_match != 0
        && time.monthdays_match & 1 == 0
        && time.weekdays_match != 0
        && time.weekdays_match & 1 == 0
        && time.date_start <= time.date_stop
        && time.date_stop <= LAST_DATE
        && time.flags <= XT_TIME_LOCAL_TZ | XT_TIME_CONTIGUOUS;
    is_said.then_some(())
}

const fn separator(index: usize) -> char {
    if index == 0 { ' ' } else { ',' }
}
