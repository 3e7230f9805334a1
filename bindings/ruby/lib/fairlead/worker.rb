# frozen_string_literal: true

begin
  require "fairlead"
rescue LoadError
  warn("fairlead: ruby-ffi is not installed: install Debian's package ruby-ffi, or the gem ffi")
  exit!(2)
rescue StandardError => error
  raise unless error.is_a?(Fairlead::Error)

  warn("fairlead: #{error.message}")
  exit!(2)
end
require "fairlead/task"
require "fairlead/threads"
require "fairlead/fibers"
require "fairlead/uwsgi"
require "fairlead/rack"
require "optparse"

module Fairlead
  # A process that serves one Rack application:
  #
  #   ruby -Ibindings/ruby/lib -rfairlead/worker -e Fairlead::Worker.main -- --http 127.0.0.1:8080 --rack app.ru
  #
  # It starts the engine, runs threads or fibers, and ends in order after SIGTERM or SIGINT: WebSockets are closed with
  # 1001, tasks end by themselves, and whoever has not after the deadline is cut off.
  class Worker
    # uWSGI's --socket-timeout and --worker-reload-mercy (compat §2.2, §2.4).
    SEND_TIMEOUT_MS = 4_000
    STOP_DEADLINE_S = 60
    # How often a stop looks whether all is quiet; the engine has no event for it.
    STOP_LOOK_S = 0.02

    Options = Struct.new(:addresses, :rack, :threads, :async, :rbthreads, :fiber, :send_timeout_s, :origins)

    # Serves until it is told to stop. Exits with 2 after one sentence for what cannot be started.
    def self.main(arguments = ARGV)
      new(parse(arguments)).serve
    rescue Error, OptionParser::ParseError => error
      abort_with(error.message)
    end

    def self.abort_with(text)
      warn("fairlead: #{text}")
      exit!(2)
    end

    def self.parse(arguments)
      options = Options.new([], nil, 1, 0, false, false, nil, [])
      parser = OptionParser.new do |on|
        on.on("--http ADDRESS") { |value| options.addresses << value }
        on.on("--rack FILE") { |value| options.rack = value }
        on.on("--threads N", Integer) { |value| options.threads = value }
        on.on("--rbthreads") { options.rbthreads = true }
        on.on("--async N", Integer) { |value| options.async = value }
        on.on("--fiber") { options.fiber = true }
        on.on("--websockets-origin ORIGIN") { |value| options.origins << value }
        on.on("--socket-timeout S", Integer) { |value| options.send_timeout_s = value }
      end
      rest = parser.parse(arguments)
      raise Error, "#{rest.first} is no option" unless rest.empty?
      raise Error, "no application: --rack FILE" unless options.rack
      raise Error, "no address to listen on: --http ADDRESS" if options.addresses.empty?
      raise Error, "--fiber wants --async N with at least 1" if options.fiber && options.async < 1
      raise Error, "--threads wants a number of at least 1" if options.threads < 1
      raise Error, "--threads #{options.threads} wants --rbthreads" if options.threads > 1 && !options.rbthreads
      raise Error, "--async wants --fiber: without fibers nothing of Ruby's could wait" if options.async > 1 && !options.fiber

      options
    end

    def initialize(options)
      @options = options
    end

    def serve
      UWSGI.worker_id = 1
      application = load
      @engine = start_engine
      @runner = runner(application)
      stopping = stop_on_signal
      @options.addresses.each_index { |index| Log.line("listening on #{@engine.address(index)}") }
      @runner.run
      stopping.kill
      @engine.stop(0)
    end

    private

    # What the file raises is logged with its backtrace: it is the author's to mend.
    def load
      raise Error, "#{@options.rack} does not exist" unless File.file?(@options.rack)

      Rack.load(@options.rack, multithread: @options.threads > 1, multiprocess: false)
    rescue Error
      raise
    rescue Exception => error # rubocop:disable Lint/RescueException: SyntaxError and LoadError are not StandardErrors
      Log.exception(error, @options.rack)
      self.class.abort_with("#{@options.rack} cannot be loaded: #{error.message.lines.first&.strip} (#{error.class})")
    end

    def start_engine
      settings = Settings.new
      @options.addresses.each { |address| settings.listen(address) }
      settings["delivery"] = @options.fiber ? "loop" : "threads"
      settings["slots"] = slots
      settings["websocket_origins"] = @options.origins
      Engine.new(settings)
    ensure
      settings&.free
    end

    def slots
      @options.fiber ? @options.async : @options.threads
    end

    def runner(application)
      send_timeout_ms = @options.send_timeout_s ? @options.send_timeout_s * 1000 : SEND_TIMEOUT_MS
      (@options.fiber ? Fibers : Threads).new(@engine, application, slots, send_timeout_ms)
    end

    # A handler may do little, so it writes to a pipe, and a thread does the rest.
    def stop_on_signal
      told, tell = IO.pipe
      %w[TERM INT].each { |signal| trap(signal) { tell.write_nonblock(".", exception: false) } }
      Thread.new do
        told.read(1)
        drain(Process.clock_gettime(Process::CLOCK_MONOTONIC) + STOP_DEADLINE_S)
      end
    end

    def drain(deadline)
      loop do
        @engine.drain
        break unless @engine.busy?
        return cut_off if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

        sleep(STOP_LOOK_S)
      end
      @runner.finish
    end

    def cut_off
      Log.line("tasks are left after #{STOP_DEADLINE_S} s: they are cut off")
      exit!(0)
    end
  end
end
