//! CONNECT and INFO: who the client is, and what it is told of the server.

use super::{Connection, OPEN, Phase};
use crate::codec::Violation;
use crate::codec::info::Info;
use crate::codec::options::Options;
use crate::jet::audit::Client;
use crate::jet::time::Time;
use crate::jet::versions::API_LEVEL;
use crate::profile::VERSION;
use stele_model::id::Now;
use stele_model::outcome::Outcome;
use stele_model::session::{Authenticate, Outbox};

/// Newest protocol that a client may ask for.
const PROTOCOL_MAX: i64 = 1;

/// The account of whoever belongs to no other.
const GLOBAL_ACCOUNT: &str = "$G";

impl Connection {
    pub(super) fn info(&self) -> Info<'_> {
        let profile = &*self.profile;
        Info {
            server_id: &profile.server_id,
            server_name: &profile.server_name,
            version: VERSION,
            proto: 1,
            go: "none",
            host: &profile.host,
            port: profile.port,
            headers: true,
            auth_required: profile.auth_required,
            tls_required: profile.tls.is_required,
            tls_verify: profile.tls.verifies,
            tls_available: profile.tls.is_available && !profile.tls.is_required,
            max_payload: profile.limits.payload_bytes_max,
            jetstream: profile.jetstream,
            client_id: self.arrival.client_id,
            client_ip: &self.arrival.ip,
            nonce: if profile.has_keys { &self.arrival.nonce } else { "" },
            api_lvl: API_LEVEL,
            ..Info::default()
        }
    }

    /// INFO after the first PING: which account it is.
    pub(super) fn tell_account(&self, out: &mut Outbox) {
        let info = Info { connect_info: true, remote_account: self.account(), ..self.info() };
        out.write.buffer().extend_from_slice(info.line().as_bytes());
    }

    /// The account as clients know it: the namespace of all others has a name of its own there.
    pub(super) fn account(&self) -> &str {
        if self.namespace == self.profile.namespace { GLOBAL_ACCOUNT } else { &self.namespace }
    }

    /// INFO before the end: go somewhere else.
    pub(super) fn tell_leaving(&mut self, out: &mut Outbox) {
        let listens = self.phase == Phase::Ready && self.options.protocol >= 1;
        if !listens || std::mem::replace(&mut self.told_leaving, true) {
            return;
        }
        let info = Info { ldm: true, ..self.info() };
        out.write.buffer().extend_from_slice(info.line().as_bytes());
    }

    pub(super) fn connect(&mut self, _: Now, json: &[u8], out: &mut Outbox) -> Result<(), Violation> {
        // nats-server says nothing of malformed options, and closes.
        self.options = Options::read(json).map_err(|_| Violation::Arguments)?;
        let Options { name, lang, version, .. } = &self.options;
        self.name = match (name.is_empty(), lang.is_empty()) {
            (false, _) => name.clone(),
            (true, false) => format!("{lang} {version}"),
            (true, true) => String::new(),
        };
        self.connected = true;
        // A second CONNECT may lead to another account: nothing of the first one stays.
        self.forget_subscriptions(out);
        out.authenticate = Some(self.credentials());
        self.phase = Phase::Entering;
        Ok(())
    }

    /// A command before CONNECT: fine where nobody has to say who they are (a person with telnet).
    pub(super) fn enter_unnamed(&mut self, out: &mut Outbox) {
        if self.profile.auth_required {
            return self.refuse_login(out);
        }
        out.authenticate = Some(Authenticate::Nobody);
        self.phase = Phase::Entering;
    }

    /// By what the client wants to be known.
    fn credentials(&self) -> Authenticate {
        if self.profile.ignores_credentials {
            return Authenticate::Nobody;
        }
        let Options { user, pass, auth_token, nkey, sig, .. } = &self.options;
        if let (Some(key), Some(sig)) = (nkey, sig) {
            let signature = decode(sig).unwrap_or_default();
            return Authenticate::Signature {
                key: key.clone(),
                signed: self.arrival.nonce.clone(),
                signature,
            };
        }
        if let Some(user) = user {
            let password = pass.clone().unwrap_or_default();
            return Authenticate::Password { user: user.clone(), password };
        }
        match auth_token {
            Some(token) => Authenticate::Token { token: token.clone() },
            None => Authenticate::Nobody,
        }
    }

    pub(super) fn refuse_login(&mut self, out: &mut Outbox) {
        self.close(Some("Authorization Violation"), "the login was refused", out);
    }

    /// The hub has let the client in, or not.
    pub(super) fn opened(&mut self, _: Now, outcome: &Outcome, out: &mut Outbox) {
        debug_assert_eq!(OPEN.0, 0, "the one ticket of a login");
        if !matches!(outcome, Outcome::Done(_)) {
            return self.refuse_login(out);
        }
        self.phase = Phase::Ready;
        self.login_due = None;
        let limits = self.profile.accounts.get(&self.namespace).copied().unwrap_or_default();
        self.jet.admit(limits, &self.profile.server_name);
        let Options { protocol, headers, no_responders, .. } = self.options;
        if !(0..=PROTOCOL_MAX).contains(&protocol) {
            return self.close(Some("invalid client protocol"), "the client asks for another protocol", out);
        }
        if no_responders && !headers {
            let text = "no responders requires headers support";
            return self.close(Some(text), text, out);
        }
        if self.connected {
            self.ok(out);
        }
    }
}

impl Connection {
    /// Who this is, to those who listen to what is asked of JetStream.
    pub(super) fn audited(&self) -> Client {
        let Options { name, lang, version, user, .. } = &self.options;
        Client {
            start: Time::from(self.came),
            host: self.arrival.ip.clone(),
            id: self.arrival.client_id,
            acc: self.account().to_owned(),
            user: user.clone().unwrap_or_default(),
            name: name.clone(),
            lang: lang.clone(),
            ver: version.clone(),
            server: self.profile.server_name.clone(),
            kind: "Client",
            client_type: "nats",
        }
    }
}

/// Signatures are base64 for URLs without padding; some clients pad, or use the other alphabet.
fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let text = text.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}
