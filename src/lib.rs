//! booking manager
