#include "core/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct worker_thread {
    struct worker *worker;
    size_t index;
    pthread_t thread;
};

struct worker {
    struct worker_options options;
    struct worker_thread threads[WORKER_THREADS_MAX];
    size_t running;       /* threads that aren't joined */
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    void **queue; /* a ring of options.queue_max */
    size_t first, count;
    bool is_closed;
};

/* NULL when the queue is empty and closed. */
static void *worker_dequeue(struct worker *worker)
{
    void *item = NULL;
    pthread_mutex_lock(&worker->lock);
    while (worker->count == 0 && !worker->is_closed)
        clock_wait(worker->options.clock, &worker->wake, &worker->lock, CLOCK_FOREVER_NS);
    if (worker->count > 0) {
        item = worker->queue[worker->first];
        worker->first = (worker->first + 1) % worker->options.queue_max;
        worker->count--;
    }
    pthread_mutex_unlock(&worker->lock);
    return item;
}

static void *worker_run(void *context)
{
    struct worker_thread *thread = context;
    const struct worker_options *options = &thread->worker->options;
    void *item;
    while ((item = worker_dequeue(thread->worker)) != NULL)
        options->work(options->context, thread->index, item);
    return NULL;
}

static bool worker_start_thread(struct worker *worker)
{
    struct worker_thread *thread = &worker->threads[worker->running];
    thread->worker = worker;
    thread->index = worker->running;
    if (pthread_create(&thread->thread, NULL, worker_run, thread) != 0)
        return false;
    worker->running++;
    return true;
}

enum result worker_start(const struct worker_options *options, struct worker **ret_worker,
                         struct error *error)
{
    assert(options->threads > 0 && options->threads <= WORKER_THREADS_MAX);
    assert(options->queue_max > 0);
    struct worker *worker = calloc(1, sizeof *worker);
    void **queue = calloc(options->queue_max, sizeof *queue);
    if (!worker || !queue) {
        free(worker);
        free(queue);
        return error_set(error, RESULT_NO_MEMORY, "no memory for a queue");
    }
    worker->options = *options;
    worker->queue = queue;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    while (worker->running < options->threads)
        if (!worker_start_thread(worker)) {
            worker_free(worker);
            return error_set(error, RESULT_NO_MEMORY, "a worker's thread doesn't start");
        }
    *ret_worker = worker;
    return RESULT_OK;
}

enum result worker_submit(struct worker *worker, void *item)
{
    enum result result = RESULT_OK;
    assert(item);
    pthread_mutex_lock(&worker->lock);
    if (worker->is_closed)
        result = RESULT_CLOSED;
    else if (worker->count == worker->options.queue_max)
        result = RESULT_BUSY;
    else
        worker->queue[(worker->first + worker->count++) % worker->options.queue_max] = item;
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_signal(&worker->wake);
    return result;
}

void worker_close(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->is_closed = true;
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_broadcast(&worker->wake);
    for (; worker->running > 0; worker->running--)
        pthread_join(worker->threads[worker->running - 1].thread, NULL);
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    worker_close(worker);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    free(worker->queue);
    free(worker);
}
