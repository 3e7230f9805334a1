/* A worker under the real master: answers each request with its worker's number, one thread. */
#include <fairlead.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    fl_worker *worker = NULL;
    fl_engine *engine = NULL;
    fl_request *request = NULL;
    uint64_t number = 0;
    char body[64];
    int joined = fl_worker_join(&worker);
    if (joined != FL_OK) {
        fprintf(stderr, "no worker: %d %s\n", joined, fl_last_error());
        return 3;
    }
    fl_worker_loading(worker);
    if (fl_worker_start(worker, "threads", &engine) != FL_OK) {
        fl_worker_failed(worker, fl_last_error());
        return 2;
    }
    fl_worker_number(worker, "worker_id", &number);
    snprintf(body, sizeof body, "worker %d\n", (int)number);
    if (fl_worker_ready(worker) != FL_OK) return 4;
    while (fl_engine_wait_request(engine, -1, &request) == FL_OK) {
        fl_request_respond(request, 200, NULL, NULL, 0, body, strlen(body));
        fl_request_complete(request);
        fl_request_free(request);
    }
    fl_worker_leave(worker);
    fl_engine_free(engine);
    return 0;
}
