//! `#[derive(Replies)]`: an enum of answers, one message in each variant.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Result};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "answers are an enum: one variant for each message that may come back",
        ));
    };
    let mut variants = Vec::new();
    let mut types = Vec::new();
    for variant in &data.variants {
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                variants.push(&variant.ident);
                types.push(&fields.unnamed[0].ty);
            }
            _ => return Err(Error::new(variant.span(), "a variant holds one message: Name(Type)")),
        }
    }
    let ident = &input.ident;
    let (in_front, behind, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #in_front ::stele_bus::Replies for #ident #behind #bounds {
            fn names() -> ::std::vec::Vec<::stele_bus::TypeName> {
                ::std::vec![#(<#types as ::stele_bus::Message>::name()),*]
            }
            fn read(delivery: &::stele_bus::Delivery) -> ::core::option::Option<::core::result::Result<Self, ::stele_bus::Failure>> {
                #(
                    if let ::core::option::Option::Some(reply) = <#types as ::stele_bus::Replies>::read(delivery) {
                        return ::core::option::Option::Some(reply.map(Self::#variants));
                    }
                )*
                ::core::option::Option::None
            }
        }
    })
}
