"""TLS for SIP and for HTTP control: the guide's sections by domain and role (guide 9, RFC 5922)."""
