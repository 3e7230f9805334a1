"""How an application is called. One file for each kind of application; nothing here knows a concurrency model."""
