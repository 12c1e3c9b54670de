"""Personal data: rules that drop or hash it before it is written, and the removal of single persons."""
