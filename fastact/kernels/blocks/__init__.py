"""The elementary functions under the bodies, once for one word per number and once for double-double."""
