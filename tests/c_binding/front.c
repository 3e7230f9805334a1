/*
 * front.c - what the C interface promises of an engine's front: listeners of every kind, rules, folders, TLS that cannot be,
 * and the counts. Nothing sleeps. Exit status 0 and "ok" when all holds.
 */
#include "harness.h"

#include <fcntl.h>

static char folder[] = "/tmp/fairlead-front-XXXXXX";

static void what_cannot_be_is_refused(void) {
    const fl_header half[] = {{"/files", NULL}}, nowhere[] = {{"/files", "/nowhere/at/all"}}, no_rule[] = {{"route", "^/("}};
    const char *secret = "0123456789abcdef0123456789abcdef";
    fl_listener listener = {"127.0.0.1:0", -1, "ftp", NULL, 0, 0};
    fl_key_pair pair = {{"/nowhere/cert.pem", NULL, 0}, {"/nowhere/key.pem", NULL, 0}};
    fl_tls_options options;
    fl_settings *settings;
    fl_ticket_keys *keys = (fl_ticket_keys *)&settings;
    fl_tls *tls = (fl_tls *)&settings;

    CHECK(fl_settings_new(&settings) == FL_OK);
    REFUSED(fl_settings_add_listener(settings, NULL));
    REFUSED(fl_settings_add_listener(settings, &listener));
    CHECK(strstr(fl_last_error(), "\"ftp\"") != NULL);
    listener.kind = "https";
    REFUSED(fl_settings_add_listener(settings, &listener)); /* without TLS */
    listener.kind = "http-to-https";
    listener.https_port = 65536;
    REFUSED(fl_settings_add_listener(settings, &listener));
    listener.kind = NULL;
    listener.address = NULL;
    CHECK(fl_settings_add_listener(settings, &listener) == FL_ERR_SYSTEM); /* -1 is no descriptor */
    REFUSED(fl_settings_routes(settings, no_rule, 1, 1));
    CHECK(strstr(fl_last_error(), "^/(") != NULL);
    REFUSED(fl_settings_static_files(settings, half, 1, NULL, 0, NULL, 0));
    REFUSED(fl_settings_static_files(settings, nowhere, 1, NULL, 0, NULL, 0));
    CHECK(strstr(fl_last_error(), "/nowhere/at/all") != NULL);
    CHECK(fl_settings_scoreboard(settings, -1, 0) == FL_ERR_SYSTEM);

    memset(&options, 0, sizeof options);
    REFUSED(fl_tls_new(NULL, &tls));
    CHECK(tls == NULL);
    REFUSED(fl_tls_new(&options, &tls)); /* no certificate */
    options.certificates = &pair;
    options.certificate_count = 1;
    REFUSED(fl_tls_new(&options, NULL));
    CHECK(fl_tls_new(&options, &tls) == FL_ERR_SYSTEM && strstr(fl_last_error(), "/nowhere/cert.pem") != NULL);
    pair.certificate.content = pair.key.content = "no PEM";
    pair.certificate.size = pair.key.size = 6;
    REFUSED(fl_tls_new(&options, &tls));
    CHECK(strstr(fl_last_error(), "/nowhere/") != NULL);
    REFUSED(fl_ticket_keys_new(secret, 31, 60, &keys));
    CHECK(keys == NULL && strstr(fl_last_error(), "0123") == NULL);
    REFUSED(fl_ticket_keys_new(secret, 0, 60, &keys));
    CHECK(fl_ticket_keys_new(secret, 32, 60, &keys) == FL_OK);
    REFUSED(fl_ticket_keys_renew(keys, secret, 33));
    CHECK(fl_ticket_keys_renew(keys, secret, 32) == FL_OK);
    REFUSED(fl_tls_renew((fl_tls *)keys, (fl_tls *)keys)); /* handles of another kind */
    CHECK(fl_tls_warning(NULL, 0) == NULL && fl_tls_free(NULL) == FL_OK);
    CHECK(fl_ticket_keys_free(keys) == FL_OK && fl_ticket_keys_free(NULL) == FL_OK);
    CHECK(fl_settings_free(settings) == FL_OK);
}

/* One request on a connection of its own, from behind a proxy or not; what its answer begins with. */
static void asked(const fl_engine *engine, const char *before, const char *path, const char *answer) {
    char request[512];
    const char *heard;
    int client = dial(engine);
    snprintf(request, sizeof request, "%sGET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", before, path);
    ask(client, request);
    heard = hear_until(client, "\r\n\r\n");
    if (strstr(heard, answer) == NULL) fprintf(stderr, "%s, not %s\n", heard, answer);
    CHECK(strstr(heard, answer) != NULL);
    close(client);
}

static void rules_and_files_answer_without_the_program(void) {
    const fl_header rules[] = {{"route", "^/gone break:410"}}, types[] = {{".css", "text/css"}};
    const char *index[] = {"index.css"};
    char file[64];
    fl_header maps[] = {{"/files", NULL}};
    fl_listener listener = {"127.0.0.1:0", 0, "http", NULL, 0, 0};
    fl_settings *settings;
    fl_engine *engine;
    fl_request *request;
    fl_statistics now;
    int client, descriptor;

    snprintf(file, sizeof file, "%s/index.css", folder);
    descriptor = open(file, O_WRONLY | O_CREAT, 0600);
    CHECK(descriptor >= 0 && write(descriptor, "a {}", 4) == 4 && close(descriptor) == 0);
    maps[0].value = folder;

    CHECK(fl_settings_new(&settings) == FL_OK && fl_settings_add_listener(settings, &listener) == FL_OK);
    listener.proxy_protocol = 1;
    CHECK(fl_settings_add_listener(settings, &listener) == FL_OK);
    CHECK(fl_settings_log(settings, -1, FL_LOG_INFO) == FL_OK);
    CHECK(fl_settings_routes(settings, rules, 1, 1) == FL_OK);
    CHECK(fl_settings_static_files(settings, maps, 1, index, 1, types, 1) == FL_OK);
    CHECK(fl_engine_start(settings, &engine) == FL_OK && fl_settings_free(settings) == FL_OK);

    asked(engine, "", "/gone", "HTTP/1.1 410 ");
    asked(engine, "", "/files/index.css", "content-type: text/css\r\n");
    asked(engine, "", "/files/", "content-type: text/css\r\n");
    CHECK(fl_engine_statistics(engine, &now) == FL_OK && now.accepted == 3 && now.running == 0);
    REFUSED(fl_engine_statistics(engine, NULL));
    CHECK(fl_engine_port(engine, 1) > 0 && fl_engine_port(engine, 2) == FL_ERR_USAGE);

    client = dial(engine);
    ask(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    request = next_event(engine, FL_EVENT_REQUEST).request;
    CHECK(fl_engine_statistics(engine, &now) == FL_OK && now.running == 1 && fl_engine_is_quiet(engine) == 0);
    CHECK(fl_request_respond(request, 204, NULL, NULL, 0, NULL, 0) == FL_OK && fl_request_free(request) == FL_OK);
    CHECK(strncmp(hear_until(client, "\r\n\r\n"), "HTTP/1.1 204 ", 13) == 0);
    close(client);
    REFUSED(fl_engine_drain_over(engine, 1006, NULL, 10)); /* RFC 6455 7.4.1 */
    CHECK(fl_engine_drain_over(engine, 1012, "again soon", 10) == FL_OK);
    while (fl_engine_is_quiet(engine) == 0) CHECK(fl_engine_poll(engine, &(fl_event){0}, 1, 10) == 0);
    CHECK(fl_engine_free(engine) == FL_OK && unlink(file) == 0);
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    what_cannot_be_is_refused();
    rules_and_files_answer_without_the_program();
    CHECK(rmdir(folder) == 0);
    puts("ok");
    return 0;
}
