//! Saga rows in the attempt's transaction. A conflict is a row that is not any more as it was read: zero rows changed, or a key that
//! somebody else inserted.

use super::PgWork;
use crate::failed;
use sqlx::{Row as _, query};
use stele_bus::store::{CommitError, SagaChange, SagaRow, SagaStore, StoreError};
use stele_bus::transport::BoxFuture;

impl PgWork {
    async fn load_saga(&mut self, saga: &str, instance: &str) -> Result<Option<SagaRow>, StoreError> {
        let load = query("select version, body::text from saga where name = $1 and instance = $2");
        let tx = self.transaction()?;
        let row = load.bind(saga).bind(instance).fetch_optional(&mut **tx).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let (version, body): (i64, String) =
            (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        let version = u64::try_from(version).map_err(failed)?;
        Ok(Some(SagaRow { version, body: serde_json::from_str(&body).map_err(failed)? }))
    }

    async fn save_saga(&mut self, saga: &str, instance: &str, change: SagaChange) -> Result<(), CommitError> {
        let tx = self.transaction()?;
        let done = match change {
            SagaChange::Insert(body) => {
                query(
                    "insert into saga (name, instance, version, body) values ($1, $2, 1, $3::json) \
                     on conflict do nothing",
                )
                .bind(saga)
                .bind(instance)
                .bind(body.to_string())
                .execute(&mut **tx)
                .await
            }
            SagaChange::Update { version, body } => {
                query(
                    "update saga set version = version + 1, body = $4::json, updated_at = now() \
                     where name = $1 and instance = $2 and version = $3",
                )
                .bind(saga)
                .bind(instance)
                .bind(version as i64)
                .bind(body.to_string())
                .execute(&mut **tx)
                .await
            }
            SagaChange::Delete { version } => {
                query("delete from saga where name = $1 and instance = $2 and version = $3")
                    .bind(saga)
                    .bind(instance)
                    .bind(version as i64)
                    .execute(&mut **tx)
                    .await
            }
        };
        match done.map_err(failed)?.rows_affected() {
            0 => Err(CommitError::Conflict),
            _ => Ok(()),
        }
    }
}

impl SagaStore for PgWork {
    fn load<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<SagaRow>, StoreError>> {
        Box::pin(self.load_saga(saga, instance))
    }

    fn save<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
        change: SagaChange,
    ) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(self.save_saga(saga, instance, change))
    }
}
