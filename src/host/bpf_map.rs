//! Reads a counter that an eBPF program keeps in a pinned map: key 0, a number of 64 bits.
//! Looks only: writes no map, loads no program.
//!
//! *Source*: bpf(2), `BPF_OBJ_GET`, `BPF_MAP_LOOKUP_ELEM`; kernel documentation, "BPF_MAP_TYPE_ARRAY and
//! BPF_MAP_TYPE_PERCPU_ARRAY".

use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};

use crate::domain::judging::blocked::Reading;

/// Bytes of the key and of the value.
const KEY_BYTES: u32 = 4;
const VALUE_BYTES: u32 = 8;

/// Why the counter could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CounterError {
    #[error("opening the pinned map {}: it needs the path of an eBPF map in a mounted bpf file system, and CAP_BPF where the kernel asks for it", path.display())]
    Open { path: PathBuf, source: MapError },
    #[error("the map {} is no counter: its keys have {key} bytes and its values {value}, not {KEY_BYTES} and {VALUE_BYTES}", path.display())]
    Size { path: PathBuf, key: u32, value: u32 },
    #[error("the map {} is neither an array nor an array for each CPU", path.display())]
    Type { path: PathBuf },
    #[error("looking up key 0 of the map {}", path.display())]
    Lookup { path: PathBuf, source: MapError },
}

/// Reads the counter; that of a map for each CPU is the sum over them.
///
/// # Errors
/// When there is no such map, it may not be read, or it is no counter.
pub fn read_counter(path: &Path) -> Result<Reading, CounterError> {
    let open = |source| CounterError::Open { path: path.to_owned(), source };
    let lookup = |source| CounterError::Lookup { path: path.to_owned(), source };
    let data = MapData::from_pin(path).map_err(open)?;
    let info = data.info().map_err(open)?;
    let (map_id, key, value) = (info.id(), info.key_size(), info.value_size());
    if (key, value) != (KEY_BYTES, VALUE_BYTES) {
        return Err(CounterError::Size { path: path.to_owned(), key, value });
    }
    let count = match Map::from_map_data(data).map_err(open)? {
        map @ Map::Array(_) => {
            Array::<_, u64>::try_from(map).and_then(|array| array.get(&0, 0)).map_err(lookup)?
        }
        map @ Map::PerCpuArray(_) => {
            let array = PerCpuArray::<_, u64>::try_from(map).map_err(lookup)?;
            let counts = array.get(&0, 0).map_err(lookup)?;
            counts.iter().fold(0_u64, |sum, count| sum.wrapping_add(*count))
        }
        _ => return Err(CounterError::Type { path: path.to_owned() }),
    };
    Ok(Reading { map_id, count })
}
