//! `#[derive(Message)]`: reads the attribute, writes the implementation.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Ident, LitStr, Path, Result, Token, parenthesized};

#[derive(Default)]
struct Attributes {
    urn: Option<LitStr>,
    aliases: Vec<LitStr>,
    supertypes: Vec<Path>,
    correlate: Option<Ident>,
    key: Option<Ident>,
    schema: bool,
}

impl Attributes {
    fn read(input: &DeriveInput) -> Result<Self> {
        let mut found = Self::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("urn") {
                    found.urn = Some(name(meta.value()?.parse()?)?);
                } else if meta.path.is_ident("alias") {
                    found.aliases.push(name(meta.value()?.parse()?)?);
                } else if meta.path.is_ident("correlate") {
                    found.correlate = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("key") {
                    found.key = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("schema") {
                    found.schema = true;
                } else if meta.path.is_ident("implements") {
                    let list;
                    parenthesized!(list in meta.input);
                    found.supertypes.extend(Punctuated::<Path, Token![,]>::parse_terminated(&list)?);
                } else {
                    return Err(meta.error("expected urn, alias, implements, correlate, key or schema"));
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

/// The literal, if it is `Namespace:Type`.
fn name(literal: LitStr) -> Result<LitStr> {
    let text = literal.value();
    let body = text.strip_prefix("urn:message:").unwrap_or(&text);
    match body.split_once(':') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains([':', '[', ',']) =>
        {
            Ok(literal)
        }
        _ => Err(Error::new(literal.span(), "expected \"Namespace:Type\", without generic arguments")),
    }
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Attributes { urn, aliases, supertypes, correlate, key, schema } = Attributes::read(input)?;
    let Some(urn) = urn else {
        return Err(Error::new(
            input.ident.span(),
            "a message declares its name: #[message(urn = \"Namespace:Type\")]; it is never taken from the module path",
        ));
    };
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Err(Error::new(lifetime.span(), "a message owns its parts"));
    }
    let ident = &input.ident;
    let parameters: Vec<_> = input.generics.type_params().map(|parameter| &parameter.ident).collect();
    let (in_front, behind, bounds) = input.generics.split_for_impl();
    let bounds = bounds.map(|bounds| bounds.predicates.iter().collect::<Vec<_>>()).unwrap_or_default();
    let arguments = quote! { ::std::vec![#(<#parameters as ::stele_bus::Message>::name()),*] };
    let correlate = correlate.map(|field| {
        quote! {
            fn correlation_id(&self) -> ::core::option::Option<::stele_bus::__private::Uuid> {
                ::core::option::Option::Some(self.#field)
            }
        }
    });
    let key = key.map(|field| {
        quote! {
            fn key(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    });
    let schema = schema.then(|| {
        quote! {
            fn schema() -> ::core::option::Option<::stele_bus::__private::Value> {
                ::core::option::Option::Some(::stele_bus::__private::schema_of::<Self>())
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #in_front ::stele_bus::Message for #ident #behind
        where
            #(#parameters: ::stele_bus::Message,)*
            #(#bounds,)*
        {
            fn name() -> ::stele_bus::TypeName {
                ::stele_bus::TypeName::declared(#urn)
                    .with_arguments(#arguments)
            }
            fn supertypes() -> ::std::vec::Vec<::stele_bus::TypeName> {
                ::std::vec![#(<#supertypes as ::stele_bus::Message>::name()),*]
            }
            fn aliases() -> ::std::vec::Vec<::stele_bus::TypeName> {
                ::std::vec![#(::stele_bus::TypeName::declared(#aliases)),*].into_iter().map(|name: ::stele_bus::TypeName| name.with_arguments(#arguments)).collect()
            }
            #correlate
            #key
            #schema
        }
    })
}
