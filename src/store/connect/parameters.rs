//! The parameters of a `DATABASE_URL`, after its `?`: those that we handle, those that the driver handles, and those
//! that are not supported.

use super::UrlError;

/// Parameters of libpq that the driver supports.
const DRIVER: [&str; 19] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "sslmode",
    "sslnegotiation",
    "channel_binding",
    "load_balance_hosts",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "keepalives_count",
];

/// The parameters for TLS; the rest stays in the URL for the driver.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) is_verified: bool,
    pub(super) root_file: Option<String>,
    pub(super) certificate_file: Option<String>,
    pub(super) key_file: Option<String>,
}

impl Parameters {
    /// Removes from `url` the parameters that the driver does not support.
    ///
    /// # Errors
    /// Names the parameter that is not supported.
    pub(super) fn take(url: &str) -> Result<(String, Self), UrlError> {
        let mut found = Self::default();
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs: Vec<_> = pairs.map(|pair| (pair, pair.split_once('=').unwrap_or((pair, "")))).collect();
        // Errors must not show the rest of a password as the name of a parameter.
        if is_login_cut(base) || pairs.iter().any(|(_, (name, _))| name.contains(['@', ':', '/'])) {
            return Err(UrlError::Login);
        }
        let mut rest = Vec::new();
        for (pair, (name, value)) in pairs {
            let path = || Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned());
            match (name, value) {
                // Host names are checked too, which is more than `verify-ca` requires.
                ("sslmode", "verify-full" | "verify-ca") => {
                    found.is_verified = true;
                    rest.push("sslmode=require".to_owned());
                }
                // Trying without TLS first would only make connections less safe.
                ("sslmode", "allow") => rest.push("sslmode=prefer".to_owned()),
                ("sslrootcert", "system") => found.is_verified = true,
                ("sslrootcert", _) => found.root_file = path(),
                ("sslcert", _) => found.certificate_file = path(),
                ("sslkey", _) => found.key_file = path(),
                // The worker writes, so it always looks for the server that accepts writes.
                ("target_session_attrs", "any" | "read-write" | "primary")
                // There is no other value.
                | ("gssencmode", "disable" | "prefer")
                | ("client_encoding", "auto" | "utf8" | "UTF8" | "UTF-8" | "utf-8")
                | ("fallback_application_name", _) => {}
                ("target_session_attrs", _) => return Err(UrlError::ReadOnly(value.to_owned())),
                ("keepalives_count", _) => rest.push(format!("keepalives_retries={value}")),
                (name, _) if DRIVER.contains(&name) => rest.push(pair.to_owned()),
                _ if !base.contains('@') && value.contains('@') => return Err(UrlError::Login),
                _ => return Err(UrlError::Parameter(name.to_owned())),
            }
        }
        Ok((if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) }, found))
    }
}

/// Whether the part of a URL before its parameters has more of a login after the first `@`, where the driver takes the login to end.
fn is_login_cut(base: &str) -> bool {
    let Some((_, address)) = base.split_once("://").and_then(|(_, rest)| rest.split_once('@')) else { return false };
    let (host, database) = address.split_once('/').unwrap_or((address, ""));
    host.contains('@') || database.rsplit_once('@').is_some_and(|(_, rest)| rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_does_not_know_is_removed_from_the_url() {
        let (url, found) = Parameters::take(
            "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca%20x.pem&target_session_attrs=any&gssencmode=disable\
             &sslcert=/c.pem&sslkey=/k.pem&keepalives_count=2",
        )
        .unwrap();

        assert_eq!(url, "postgresql://u:p@h/d?sslmode=require&keepalives_retries=2");
        assert_eq!((found.is_verified, found.root_file.as_deref()), (true, Some("/etc/ca x.pem")));
        assert_eq!((found.certificate_file.as_deref(), found.key_file.as_deref()), (Some("/c.pem"), Some("/k.pem")));
        let plain = "postgresql://h/d?sslmode=require";
        assert_eq!(Parameters::take(plain).unwrap(), (plain.to_owned(), Parameters::default()));
    }

    #[test]
    fn a_password_that_is_not_percent_encoded_is_reported_without_it() {
        for password in [
            "hunter@2",
            "hunter@2:x",
            "hunter/@2",
            "@hunter2/x",
            "hunter?2",
            "123?hunter=2",
            "hunter?a=b&c",
            "a@b?hunter",
        ] {
            let error = Parameters::take(&format!("postgresql://u:{password}@h:5432/d?sslmode=require"))
                .unwrap_err()
                .to_string();

            assert!(error.contains("percent-encode") && error.contains("%40") && !error.contains("hunter"), "{error}");
        }
        for right in [
            "//u:hunter%402@h/d",
            "//u:a/b@h1:1,h2:2/d",
            "///d?host=/run/x&user=a@b",
            "//u@h/a@b",
            "//h/d?password=a@b",
            "//[::1]:5432/d",
        ] {
            assert!(Parameters::take(&format!("postgresql:{right}")).is_ok(), "{right}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (parameter, named) in [
            ("sslcrl=/crl", "sslcrl"),
            ("gssencmode=require", "gssencmode"),
            ("target_session_attrs=standby", "target_session_attrs=standby"),
            ("service=office", "service"),
            ("passfile=/secret", "passfile"),
        ] {
            let error = Parameters::take(&format!("postgresql://u:hunter2@h/d?{parameter}")).unwrap_err().to_string();

            assert!(error.contains(named) && error.contains("not supported") && !error.contains("hunter2"), "{error}");
        }
    }
}
