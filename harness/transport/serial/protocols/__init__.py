"""pyserial finds its URL handlers by module name in packages such as this one."""
