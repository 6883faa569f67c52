# frozen_string_literal: true

# Serves function/handler.rb as OpenFaaS's ruby-http template does, with of-watchdog's manners.
#
# A handler written for that template runs unmodified: `Handler#run(body, headers)` gets the body as an
# IO and the request's Rack environment, and returns body, headers and status. One with `run(req)`, of
# the older ruby template, gets and returns text. of-watchdog's part happens in the same process:
# exec_timeout (504), max_inflight (429), /_/health, /_/ready, X-Duration-Seconds, a drained exit on
# SIGTERM. Every invocation leaves one JSON line on standard output. WEBrick only, and rubygems only if
# a handler needs it: loading it would double the time of a cold start.
#
# Settings come from the environment; see runtime/settings.rb.

def load_webrick
  require 'webrick/httpserver'
rescue LoadError
  folders = Dir['/usr/share/rubygems-integration/*/gems/webrick-*/lib']
  raise if folders.empty? || ($LOAD_PATH & folders).any?

  $LOAD_PATH.unshift(*folders)
  retry
end

def load_handler
  begin
    require_relative 'function/handler'
  rescue LoadError
    require 'rubygems'
    require_relative 'function/handler'
  end
  return if defined?(Handler) && Handler.method_defined?(:run)

  abort 'function/handler.rb has no class Handler with a method run(body, headers); write it'
rescue StandardError, ScriptError => error
  warn error.full_message(highlight: false)
  abort "function/handler.rb cannot be loaded: #{error.message.lines.first&.chomp}"
end

load_webrick
require_relative 'runtime/settings'
require_relative 'runtime/application'
require_relative 'runtime/server'

settings = Runtime::Settings.new(ENV)
load_handler
Runtime.serve(Runtime::Application.new(settings, Handler), settings)
