"""The command line: a file a noun; each verb parses, calls one function and prints."""
