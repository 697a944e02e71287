//! The bytes of a user's fact: with what is kept for SCRAM, or, where there is nothing, as before there was SCRAM.

use super::super::bytes::{Reader, Writer, Wrong};
use stele_model::id::PrincipalId;
use stele_model::registry::{ScramHash, ScramSecret, User};

/// Kind of the fact of a user for whom nothing is kept for SCRAM.
pub(super) const PLAIN: u8 = 10;
/// Kind of the fact of another.
pub(super) const WITH_SCRAM: u8 = 19;

pub(super) fn write(id: PrincipalId, user: &User, out: &mut Writer) {
    out.u8(if user.scram.is_empty() { PLAIN } else { WITH_SCRAM });
    out.u64(id.0);
    out.text(&user.name);
    out.text(&user.password_hash);
    out.count(user.tags.len());
    user.tags.iter().for_each(|tag| out.text(tag));
    if user.scram.is_empty() {
        return;
    }
    out.count(user.scram.len());
    for secret in &user.scram {
        out.u8(match secret.hash {
            ScramHash::Sha256 => 1,
            ScramHash::Sha512 => 2,
        });
        out.bytes(&secret.salt);
        out.u32(secret.iterations);
        out.bytes(&secret.stored_key);
        out.bytes(&secret.server_key);
    }
}

pub(super) fn read(kind: u8, input: &mut Reader<'_>) -> Result<(PrincipalId, User), Wrong> {
    let id = PrincipalId(input.u64()?);
    let (name, password_hash, count) = (input.text()?, input.text()?, input.count()?);
    let tags = (0..count).map(|_| input.text()).collect::<Result<_, _>>()?;
    let count = if kind == WITH_SCRAM { input.count()? } else { 0 };
    let scram = (0..count).map(|_| secret(input)).collect::<Result<_, _>>()?;
    Ok((id, User { name, password_hash, tags, scram }))
}

fn secret(input: &mut Reader<'_>) -> Result<ScramSecret, Wrong> {
    Ok(ScramSecret {
        hash: match input.u8()? {
            1 => ScramHash::Sha256,
            2 => ScramHash::Sha512,
            other => return Err(format!("SCRAM with unknown hash {other}")),
        },
        salt: input.bytes()?.into(),
        iterations: input.u32()?,
        stored_key: input.bytes()?.into(),
        server_key: input.bytes()?.into(),
    })
}
